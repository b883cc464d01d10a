"""What the suites that people trust test of servers and files: each line, and its tests here.

The table is held to the tests: a line whose test is renamed or removed fails.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import vilbench

TESTS = Path(__file__).parents[1]

CHECKLIST: Final[dict[str, dict[str, str]]] = {
    "images": {
        "decompression bomb": (
            "unit/test_images.py::test_a_bomb_is_refused_before_any_pixel_is_decoded"
        ),
        "bomb at the server": "unit/test_serve_guard.py::test_images_that_are_not_taken",
        "bomb in an archive": (
            "unit/test_source_archives.py::test_a_bomb_in_an_archive_is_not_unpacked"
        ),
        "1 x 1": "unit/test_images.py::test_too_small",
        "0 bytes, SVG": "unit/test_images.py::test_what_is_no_image_is_named",
        "truncated": "unit/test_images.py::test_truncated_is_refused",
        "CMYK": "unit/test_images.py::test_cmyk_jpeg_is_not_inverted",
        "palette": "unit/test_images.py::test_palette_and_its_transparency",
        "16 bits": "unit/test_images.py::test_sixteen_bit_grey_is_scaled_not_clipped",
        "turned by EXIF": "unit/test_images.py::test_exif_rotation_is_applied_once",
        "animated": "unit/test_images.py::test_animated_gives_the_first_frame",
        "wrong extension": "unit/test_images.py::test_wrong_extension_is_fine",
        "all of them served": (
            "unit/test_serve_inputs.py"
            "::test_images_of_every_kind_are_scored_whatever_their_type_is_said_to_be"
        ),
        "limits before decoding": (
            "unit/test_serve_inputs.py::test_pixels_are_counted_before_one_is_decoded"
        ),
        "encoded bytes are hashed, not pixels": (
            "unit/test_serve_inputs.py::test_images_of_the_same_pixels_in_another_shape_are_others"
        ),
        "a huge file": "unit/test_problem_files.py::test_a_huge_image_file_is_refused_unread",
    },
    "addresses of images": {
        "off by default": "unit/test_serve_images.py::test_off_by_default",
        "off in files": "unit/test_problem_files.py::test_image_paths_stay_below_the_folder",
        "decimal, octal, hexadecimal, IPv6-mapped; backslashes; user names; look-alikes": (
            "unit/test_serve_images.py::test_odd_addresses_are_refused_unasked"
        ),
        "file: and other schemes": "unit/test_serve_images.py::test_other_schemes_are_no_images",
        "names that lead to loopback": (
            "unit/test_serve_images.py::test_a_name_that_leads_here_is_not_followed"
        ),
        "private, link-local, metadata": "unit/test_serve_images.py::test_where_names_may_lead",
        "redirects": "unit/test_serve_images.py::test_redirects_are_not_followed",
        "rebinding": (
            "unit/test_serve_images.py"
            "::test_a_name_that_is_bound_anew_leads_to_the_address_that_was_checked"
        ),
        "bytes, time, pixels, type": (
            "unit/test_serve_images.py::test_what_does_not_come_as_an_image"
        ),
        "certificates": "unit/test_serve_images.py::test_certificates_are_checked",
        "nothing is passed on": (
            "unit/test_serve_images.py::test_nothing_of_the_request_goes_with_it"
        ),
        "memory": (
            "unit/test_serve_images.py::test_images_count_as_if_they_had_come_with_the_request"
        ),
    },
    "paths and archives": {
        "../, absolute, link, NUL, Windows": (
            "unit/test_problem_files.py::test_image_paths_stay_below_the_folder"
        ),
        "of the viewer": "unit/test_viewer_guard.py::test_names_of_addresses_reach_no_path",
        "links out of a run": "unit/test_viewer_guard.py::test_links_out_of_a_run_are_not_followed",
        "names in a manifest": (
            "unit/test_store_values.py::test_a_forged_derived_name_removes_nothing_outside"
        ),
        "archives that lead out": (
            "unit/test_source_archives.py::test_an_archive_that_leads_out_is_refused_whole"
        ),
        "links in archives": (
            "unit/test_source_archives.py::test_a_link_in_an_archive_is_not_followed"
        ),
        "nothing is unpacked into folders": (
            "unit/test_serve_checklist.py::test_no_module_unpacks_an_archive_into_a_folder"
        ),
    },
    "what browsers, terminals and sheets do": {
        "script in question, answer, names": (
            "browser/test_browser_hostile.py::test_no_page_of_the_viewer_obeys"
        ),
        "in the report": "browser/test_browser_hostile.py::test_the_report_does_not_obey",
        "the corpus": "browser/test_browser_hostile.py::test_the_corpus_is_of_every_kind",
        "</script> in JSON": "unit/test_report_page.py::test_hostile_text_is_shown_as_text",
        "answers of the server": (
            "unit/test_serve_inputs.py::test_steps_and_answers_are_text_whatever_they_hold"
        ),
        "policy of the report": (
            "unit/test_report_page.py::test_policy_allows_the_one_style_block_and_nothing_else"
        ),
        "policy of the viewer": "unit/test_viewer_guard.py::test_every_answer_forbids_what_it_can",
        "policy of the server": (
            "unit/test_serve_guard.py::test_every_answer_forbids_what_browsers_would_do"
        ),
        "escapes in the terminal": "unit/test_cli.py::test_hostile_input_is_shown_as_text",
        "and in its tables": (
            "unit/test_report_table.py::test_names_neither_steer_the_terminal_nor_are_markup"
        ),
        "formulas in CSV": "unit/test_report_plates.py::test_cells_of_a_sheet_are_no_formulas",
    },
    "who may ask": {
        "loopback, or a token (server)": "unit/test_cli_serve.py::test_refusals",
        "loopback, or a token (viewer)": "unit/test_cli_view.py::test_other_machines_need_a_token",
        "every route and method (server)": (
            "unit/test_serve_guard.py::test_no_route_and_no_method_without_the_token"
        ),
        "every route and method (viewer)": (
            "unit/test_viewer_guard.py::test_every_route_and_method_is_behind_the_token"
        ),
        "fuzz without the token": (
            "unit/test_serve_fuzz.py::test_any_request_gets_an_answer_that_the_document_knows"
        ),
        "Host and rebinding (server)": "unit/test_serve_guard.py::test_other_names_are_not_served",
        "Host and rebinding (viewer)": (
            "unit/test_viewer_guard.py::test_rebound_names_reach_nothing"
        ),
        "Origin (server)": "unit/test_serve_guard.py::test_other_sites_may_not_ask",
        "Origin (viewer)": "unit/test_viewer_guard.py::test_other_sites_may_link_and_no_more",
        "other protocols (server)": "unit/test_serve_inputs.py::test_other_protocols_are_closed",
        "other protocols (viewer)": "unit/test_viewer_guard.py::test_other_protocols_are_closed",
    },
    "how much": {
        "body": "unit/test_serve_guard.py::test_a_body_beyond_the_limit_is_not_read",
        "time of a body": "unit/test_serve_guard.py::test_a_body_that_drips_is_cut",
        "time of a head": (
            "unit/test_serve_guard.py::test_a_head_that_does_not_come_is_not_waited_for"
        ),
        "counts, before any work": (
            "unit/test_serve_inputs.py"
            "::test_limits_are_held_before_an_image_is_decoded_or_anything_scored"
        ),
        "memory of all requests": (
            "unit/test_serve_guard.py::test_requests_that_hold_too_much_memory_are_refused"
        ),
        "time of a request": "unit/test_serve_scores.py::test_a_request_that_takes_too_long_ends",
        "overload": "unit/test_serve_scores.py::test_a_full_queue_gives_429_and_recovers",
        "overload, before any work": (
            "unit/test_serve_inputs.py::test_a_full_queue_refuses_before_an_image_is_decoded"
        ),
        "many clients, none lost": (
            "unit/test_serve_load.py::test_every_request_is_answered_with_its_own_scores"
        ),
        "form of the viewer": "unit/test_viewer_guard.py::test_a_form_of_any_size_is_not_read",
    },
    "errors and secrets": {
        "hostile bodies": "unit/test_serve_guard.py::test_hostile_bodies_are_clean_errors",
        "no path, address or key": (
            "unit/test_serve_guard.py::test_words_for_clients_have_no_places"
        ),
        "faults of the program": (
            "unit/test_serve_guard.py::test_faults_of_the_program_show_nothing"
        ),
        "no path (viewer)": "unit/test_viewer_guard.py::test_errors_show_no_path",
        "no secret in logs, metrics, documents": (
            "unit/test_serve_inputs.py::test_no_secret_gets_out"
        ),
        "keys from the environment": (
            "unit/test_engine_openai.py::test_keys_come_from_the_environment_alone"
        ),
        "no part of a key in faults": (
            "faults/test_faults.py::test_no_part_of_a_key_across_the_cut_is_told"
        ),
    },
    "other servers that misbehave": {
        "faults that pass (engine)": (
            "faults/test_faults.py::test_a_fault_that_passes_costs_one_more_attempt"
        ),
        "faults that pass (scorer)": (
            "unit/test_serve_remote.py::test_a_fault_that_passes_costs_one_more_request"
        ),
        "retries are bounded (engine)": (
            "faults/test_faults.py::test_a_fault_that_stays_ends_after_all_attempts"
        ),
        "retries are bounded (scorer)": (
            "unit/test_serve_remote.py::test_a_fault_that_stays_ends_after_all_attempts"
        ),
        "Retry-After in seconds and as a date": (
            "faults/test_faults.py::test_the_wait_that_a_server_names_is_kept"
        ),
        "slow drip, no answer": "faults/test_faults.py::test_time_limits",
        "another model's name": "faults/test_fault_answers.py::test_another_model_in_the_answer",
        "another scorer": (
            "unit/test_scorer_remote.py::test_a_server_with_another_scorer_is_refused"
        ),
        "null content": "faults/test_fault_answers.py::test_null_content_is_asked_for_again",
        "finish reasons": "faults/test_fault_answers.py::test_finish_reasons_are_told",
        "cancelling leaks no task (engine)": (
            "faults/test_fault_limits.py::test_cancelling_leaks_no_task_and_no_place"
        ),
        "cancelling leaks no task (scorer)": (
            "unit/test_serve_remote.py::test_cancelling_leaves_no_task"
        ),
        "a client that goes": "unit/test_serve_scores.py::test_a_client_that_goes_leaves_the_queue",
        "neighbours (engine)": "faults/test_fault_limits.py::test_a_fault_touches_no_neighbour",
        "neighbours (server)": (
            "unit/test_serve_scores.py::test_what_cannot_be_scored_takes_its_own_values_only"
        ),
        "killed in the middle": (
            "unit/test_serve_upstream.py::test_killed_in_the_middle_of_requests_and_started_again"
        ),
        "away at first, then there": (
            "unit/test_serve_upstream.py::test_a_judge_whose_server_comes_late_goes_and_comes_back"
        ),
        "replies of judges": (
            "unit/test_judge_reading.py::test_any_reply_gives_a_score_of_the_scale_or_no_verdict"
        ),
        "no silent default": "unit/test_judge_reading.py::test_there_is_never_a_score_by_default",
    },
    "files of a run": {
        "killed at every write": (
            "unit/test_store_processes.py::test_killed_at_every_point_the_run_is_whole_and_resumes"
        ),
        "killed again and again, nothing paid twice": (
            "e2e/test_kill.py::test_killed_again_and_again"
        ),
        "torn last record": "unit/test_problem_files.py::test_a_torn_last_line_is_that_row",
        "full disk": (
            "unit/test_store_damage.py::test_a_full_disk_keeps_whole_units_and_the_run_usable"
        ),
        "read-only folder": "unit/test_store_damage.py::test_creating_in_a_read_only_folder",
        "two processes on one run": (
            "unit/test_store_processes.py::test_the_second_writer_is_told_who_the_first_is"
        ),
        "Ctrl-C twice (run)": "faults/test_fault_commands.py::test_ctrl_c",
        "Ctrl-C twice (server)": (
            "unit/test_cli_serve.py::test_a_second_signal_gives_up_what_is_under_way"
        ),
        "a signal lets requests end": (
            "unit/test_cli_serve.py"
            "::test_a_process_goes_on_without_its_upstream_and_ends_when_all_is_answered"
        ),
        "changed recipe": "unit/test_store.py::test_another_recipe_is_refused_with_the_differences",
        "newer schema": "unit/test_store_manifest.py::test_newer_schema_is_refused",
        "older schema": "unit/test_store_trees.py::test_a_run_from_before_there_were_trees",
        "training goes on": (
            "unit/test_training_run.py::test_going_on_from_any_checkpoint_gives_the_same_curve"
        ),
    },
    "files of models": {
        "no pickle": "unit/test_imports.py::test_no_module_reads_pickles_or_runs_text",
        "no pickled weights": "unit/test_prm_folder.py::test_pickles_are_not_loaded",
        "no code of a folder": (
            "unit/test_backbone_checkpoint.py::test_code_of_the_folder_is_never_run"
        ),
        "revisions in full": "unit/test_hub.py::test_a_commit_is_named_in_full",
        "the extra is enough": (
            "unit/test_serve_inputs.py::test_the_extra_has_all_that_a_server_needs"
        ),
    },
}


@cache
def defined(file: str) -> frozenset[str]:
    """Functions of a file of tests."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("part", CHECKLIST)
def test_every_line_has_its_test(part: str) -> None:
    for line, place in CHECKLIST[part].items():
        file, _, name = place.partition("::")
        assert name.startswith("test_") and name in defined(file), line


def test_no_module_unpacks_an_archive_into_a_folder() -> None:
    """Members are read one by one, so that there is no path of theirs to check."""
    unpacking = re.compile(r"\b(extractall|unpack_archive|tarfile)\b")
    files = list(Path(vilbench.__file__).parent.rglob("*.py"))
    assert any("ZipFile" in file.read_text(encoding="utf-8") for file in files)
    found = [file for file in files if unpacking.search(file.read_text(encoding="utf-8"))]
    assert found == []
