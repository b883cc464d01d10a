"""Models behind servers that speak the chat completions protocol of OpenAI.

    engine       the Generator: n samples of a prompt, topped up, within a budget
    messages     a prompt as the body of a request, in the server's dialect
    pictures     images as data URLs, made once each
    reply        what is read from an answer, and what makes it none
    spelling     log-probabilities as tokens that spell the text
    faults       what can go wrong with a request, and whether to ask again
    attempts     the one layer that asks again
    gate         how many requests are in flight, learnt from the server's refusals
    connections  the official client, with pools that stay quick at a thousand connections
    money        prices, costs and the hard limit of them
    estimate     tokens of a request before it is made
    counts       what has been done so far, for the user's eyes

`money` and `estimate` need no library of the extra `openai`.
"""
