"""Recipes, and the only tables from names to classes; classes are imported when built.

So reading a recipe loads no torch. A recipe is YAML: `recipe` has its keys, `reading` the
way from a file to a `Recipe`, `places` what a wrong one is told, `checking` what must be at
hand before anything is loaded. `classes` is the table of names, `models` the way from keys to
engines and scorers, `building` the way from a `Recipe` to all that it needs, `staffing` the
way to workers that hold its models.
"""

from vilbench.config.building import (
    Built,
    BuiltMethod,
    build,
    build_method,
    build_scorers,
    load_problems,
    plan,
)
from vilbench.config.checking import check_keys, check_libraries, check_scorer_keys
from vilbench.config.collecting import CollectRecipe
from vilbench.config.engine import EngineConfig, LocalEngineConfig, OpenAIEngineConfig
from vilbench.config.loop import LoopRecipe, load_loop
from vilbench.config.problems import ProblemsConfig
from vilbench.config.reading import (
    load,
    load_collecting,
    load_searching,
    load_training,
    parse,
    parse_collecting,
    parse_text,
    parse_training,
)
from vilbench.config.recipe import Experiment, Recipe, SampleConfig
from vilbench.config.scorers import JudgeConfig, LikelihoodConfig, ScorerConfig
from vilbench.config.searching import SearchRecipe
from vilbench.config.staff import ExecutorConfig
from vilbench.config.staffing import staffed
from vilbench.config.stepbench import StepbenchRecipe, load_stepbench, parse_stepbench

__all__ = [
    "Built",
    "BuiltMethod",
    "CollectRecipe",
    "EngineConfig",
    "ExecutorConfig",
    "Experiment",
    "JudgeConfig",
    "LikelihoodConfig",
    "LocalEngineConfig",
    "LoopRecipe",
    "OpenAIEngineConfig",
    "ProblemsConfig",
    "Recipe",
    "SampleConfig",
    "ScorerConfig",
    "SearchRecipe",
    "StepbenchRecipe",
    "build",
    "build_method",
    "build_scorers",
    "check_keys",
    "check_libraries",
    "check_scorer_keys",
    "load",
    "load_collecting",
    "load_loop",
    "load_problems",
    "load_searching",
    "load_stepbench",
    "load_training",
    "parse",
    "parse_collecting",
    "parse_stepbench",
    "parse_text",
    "parse_training",
    "plan",
    "staffed",
]
