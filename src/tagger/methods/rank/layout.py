"""The layout of a pass: lists of tags, README, questions and trees, in one model's tokens."""

from collections.abc import Sequence
from copy import copy

import torch

from tagger.errors import VocabularyError
from tagger.methods.rank.tree import Forest, TagTree
from tagger.models.tokenizer import ChatTokenizer
from tagger.prompts.prompt import Conversation, Prompt, PromptTemplate
from tagger.vocabulary import Vocabulary

AT_ONCE = 128
"""Nodes of a tree up to which all tags are scored; larger trees are searched."""

IN_VIEW = 1536
"""Tokens of a list up to which READMEs attend to it; with longer lists that costs too much."""

MIN_README_TOKENS = 64
"""A vocabulary that leaves fewer tokens than this for the README is refused."""


class Layout:
    """A prompt and a vocabulary, laid out for one pass over a README.

    Args:
        template: the prompt.
        vocabulary: the tags.
        tokenizer: the model's tokenizer.
        one_list: whether READMEs and all questions follow the list as it is given, however long it
            is; a recurrent model has read all that comes before.

    Attributes:
        prompt: the prompt's parts.
        trees: for each question, the tree of the tags' names.
        small: whether all tags are scored; those of a large vocabulary are searched.
        branches: the question and the order of the list of each branch.
        orders: for each order of the list that is used, the ids of the list.
        in_view: whether READMEs attend to the list.

    """

    def __init__(
        self,
        template: PromptTemplate,
        vocabulary: Vocabulary,
        tokenizer: ChatTokenizer,
        *,
        one_list: bool = False,
    ) -> None:
        self._tags = len(vocabulary)
        self.prompt = Prompt(template, vocabulary, tokenizer)
        self.trees = [
            TagTree.build(vocabulary, tokenizer, opening) for opening in self.prompt.openings
        ]
        self.small = is_small(self.trees)
        questions = len(self.prompt.endings)
        orders = 1 if one_list else len(self.prompt.lists)
        # Each question attends to another order: as good as all questions with all orders, at half
        # the cost. With a large tree even a second branch costs too much.
        count = max(questions, orders) if self.small else 1
        self.branches = [(branch % questions, branch % orders) for branch in range(count)]
        self.orders = self.prompt.lists[: min(count, orders)]
        self.in_view = one_list or self.small or len(self.orders[0]) <= IN_VIEW

    def room(self, context: int) -> int:
        """Return how many tokens of a README fit into a model's context beside the prompt.

        Raises:
            VocabularyError: fewer than `MIN_README_TOKENS`.

        """
        prompt = self.prompt
        fixed = len(prompt.head) + max(map(len, prompt.lists)) + len(prompt.bridge)
        fixed += max(
            len(ending) + len(tree.root) + tree.depth
            for ending, tree in zip(prompt.endings, self.trees, strict=True)
        )
        room = context - fixed
        if room < MIN_README_TOKENS:
            raise VocabularyError(
                f"the vocabulary's {self._tags} tags and the prompt take {fixed:,} tokens, and "
                f"the model's context holds {context:,}, which leaves no room for a README: "
                "use fewer tags, or shorter descriptions and fewer aliases"
            )
        return room

    def of_last_question(self) -> "Layout":
        """Return the layout with its last branch alone."""
        last = copy(self)
        last.branches = self.branches[-1:]
        return last

    @property
    def tokens(self) -> dict[str, int]:
        """How many tokens the parts of the prompt have, without the README."""
        prompt = self.prompt
        return {
            "opening": len(prompt.head) + len(prompt.bridge),
            "lists of tags": sum(map(len, self.orders)),
            "questions": sum(
                len(prompt.endings[question]) + len(self.trees[question].root)
                for question, _ in self.branches
            ),
        }

    @property
    def nodes(self) -> int:
        """How many nodes of trees a pass holds at most, over all branches."""
        return sum(min(len(self.trees[question].tokens), AT_ONCE) for question, _ in self.branches)

    def conversations(self, tokens: Sequence[int]) -> list[Conversation]:
        """Return the conversation about a README's tokens in each branch."""
        prompt = self.prompt
        return [
            prompt.conversation(
                (*prompt.head, *prompt.lists[order], *prompt.bridge),
                tokens,
                (*prompt.endings[question], *self.trees[question].root),
            )
            for question, order in self.branches
        ]

    def forest(
        self,
        trees: Sequence[TagTree],
        branches: Sequence[tuple[int, int]],
        readme: Sequence[int] = (),
    ) -> Forest:
        """Return the forest of some branches, with these trees of the questions.

        Args:
            trees: the tree of each question.
            branches: the question and the order of the list of each.
            readme: tokens of a README that is not in the KV cache, but comes before the branches
                and attends to the list; empty if it is there.

        """
        lengths = torch.tensor([len(listed) for listed in self.orders])
        lists = torch.arange(len(lengths)).repeat_interleave(lengths)
        forest = Forest.build(
            [self.prompt.endings[question] for question, _ in branches],
            [trees[question] for question, _ in branches],
            [lists == order for _, order in branches],
        )
        return forest.after(readme, lists == 0) if readme else forest


def is_small(trees: Sequence[TagTree]) -> bool:
    """Say whether trees are so small that all their tags are scored at once."""
    return max(len(tree.tokens) for tree in trees) <= AT_ONCE
