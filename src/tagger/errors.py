"""Everything that can go wrong, as one tree.

::

    TaggerError
    ├── InputError            what the user gave cannot be used          exit code 2
    │   ├── UsageError        options that contradict each other
    │   │   └── MissingPackageError   an optional package is not installed
    │   ├── VocabularyError   the list of tags
    │   ├── ReadmeError       a README
    │   ├── PromptError       a prompt template
    │   ├── QuestionError     a question with options of its own
    │   ├── LabelsError       labelled READMEs, or scores of them
    │   │   ├── NoReadmesError    digests of READMEs, and none to look up
    │   │   └── AllFittedError    a head has seen all of them
    │   ├── CalibrationError  a calibration, or what one is made from
    │   └── HeadError         a head, or what one is learned from
    ├── ReplyError            a reply breaks its contract                exit code 1
    ├── ServerError           a server fails at one README               exit code 1
    ├── OutputError           results cannot be written                  exit code 74
    └── ModelError            no model to work with                      exit code 3
        ├── UnknownModelError     no such name
        ├── ModelMissingError     known, not here, and not to be fetched
        ├── FetchError            fetching failed
        │   └── DigestError       what was fetched is not what was promised
        ├── LoadError             files are here and cannot be used
        ├── OutOfMemoryError      a README needs more memory than there is
        ├── DeviceError           the processor asked for is not there
        └── EndpointError         a server that answers no README, or none any more

A message is one line for a person: what is wrong, then what to do about it.
"""


class TaggerError(Exception):
    """Base of every error that `tagger` raises on purpose."""

    exit_code = 1


class InputError(TaggerError):
    """What the user gave cannot be used."""

    exit_code = 2


class UsageError(InputError):
    """Options that contradict each other."""


class MissingPackageError(UsageError):
    """What is asked for needs an optional package, which is not installed."""


class VocabularyError(InputError):
    """The list of tags is missing, malformed or ambiguous."""


class ReadmeError(InputError):
    """A README cannot be read as text."""


class PromptError(InputError):
    """A prompt template cannot be used."""


class QuestionError(InputError):
    """A question with options of its own cannot be put to the model."""


class LabelsError(InputError):
    """Labelled READMEs, or kept scores of them, cannot be used."""


class NoReadmesError(LabelsError):
    """Labels give READMEs by their digests, and there are none to look up."""


class AllFittedError(LabelsError):
    """A head was fitted to all of the READMEs that it is to be measured on."""


class CalibrationError(InputError):
    """A calibration cannot be used or made."""


class HeadError(InputError):
    """A head cannot be used or learned."""


class ReplyError(TaggerError):
    """A reply breaks its contract: a tag outside the vocabulary, repeated, or one too many."""


class ServerError(TaggerError):
    """A server has failed at one README, however often it was asked."""


class OutputError(TaggerError):
    """Results cannot be written: a full disk, a folder in the way, no permission."""

    exit_code = 74
    """EX_IOERR of sysexits.h."""


class ModelError(TaggerError):
    """There is no model to work with."""

    exit_code = 3


class UnknownModelError(ModelError):
    """No model goes by this name."""


class ModelMissingError(ModelError):
    """The model is known, is not on this machine, and may not be fetched."""


class FetchError(ModelError):
    """Fetching a model failed."""


class DigestError(FetchError):
    """Fetched bytes differ from the published ones."""


class LoadError(ModelError):
    """A model's files are here and cannot be used."""


class OutOfMemoryError(ModelError):
    """A pass over READMEs needs more memory than there is."""


class DeviceError(ModelError):
    """The processor asked for is not there."""


class EndpointError(ModelError):
    """A server can answer no README: nobody is there, or the key or the model is refused.

    Or many READMEs in a row have failed in the same way.
    """
