"""``metrics.json``: every number of a report, and what it was computed from; described in docs/metrics-schema.md.

Rates are shares of 0..1. ``None`` is "undefined": the score has no value on these cells (a class is absent).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from contract.baseline import BaselineCard
from contract.bootstrap import Interval
from contract.files import read_text
from contract.record import from_json, to_json

ARCHS = ("resnet18", "resnet50", "resnet152")
ENSEMBLE = "ensemble"
METRICS = "metrics.json"
AGAIN = "make the report anew (python evaluate/run.py)"  # what to do where a report does not fit what lies there
FORMAT = 2


@dataclass(frozen=True)
class Estimate:
    """A score with its two 95 % intervals (bootstrap, percentiles)."""

    value: float | None
    clustered: Interval | None  # people (or subject ids: ``Bootstrap``) are drawn anew; None where unknown or only one
    by_image: Interval | None  # images are drawn anew, as if they were independent


@dataclass(frozen=True)
class Scores:
    """The scores of one network on the scored split; label 1 (blast) is the positive class."""

    accuracy: Estimate
    balanced_accuracy: Estimate  # mean of sensitivity and specificity
    sensitivity: Estimate  # of the blasts, the share that is called blast
    specificity: Estimate  # of the normal cells, the share that is called normal
    ppv: Estimate  # of those called blast, the share that is one
    npv: Estimate  # of those called normal, the share that is normal
    f1: Estimate  # of blasts
    f1_weighted: Estimate  # mean over both classes by their frequency, the challenge's score
    mcc: Estimate  # Matthews' correlation, -1..1
    auroc: Estimate
    auprc: Estimate  # average precision
    brier: Estimate  # mean squared error of the calibrated probability; lower is better
    ece: Estimate  # expected calibration error of the calibrated probability; lower is better


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: the cells whose probability lies in it."""

    n: int
    probability: float  # their mean probability of a blast
    blasts: float  # the share of them that are blasts


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be taken at their word."""

    brier: float
    ece: float
    bins: tuple[Bin, ...]  # of equal width, empty ones left out


@dataclass(frozen=True)
class ThresholdRow:
    """What a network would do at another threshold."""

    name: str  # "0.5", "operating", "sensitivity 90 %"
    threshold: float  # of the calibrated probability
    called_blast: int
    sensitivity: float | None
    specificity: float | None
    ppv: float | None
    npv: float | None


@dataclass(frozen=True)
class SubjectRow:
    """One subject id's cells."""

    subject: str
    identity: str | None  # the person, where it is known that several subject ids are one
    n: int
    blasts: int  # cells whose true label is 1
    called_blast: int
    correct: int
    accuracy: float
    interval: Interval  # 95 %, Wilson
    probability: float  # mean calibrated probability of a blast
    vote: int | None  # the label of most of its verdicts; None: a tie
    truth: int | None  # the label of all of its cells; None: they have both


@dataclass(frozen=True)
class Vote:
    """The majority vote per subject id; ids with cells of both labels have no truth and are left out."""

    n: int
    correct: int
    ties: int  # counted as wrong
    mixed: int  # ids left out
    accuracy: float
    interval: Interval  # 95 %, Wilson


@dataclass(frozen=True)
class ConfidentError:
    """A wrong verdict; they are listed from the most confident one on."""

    picture: str  # file beside metrics.json: the cell, and beside it the class activation map
    key: str
    source: str
    subject: str | None
    label: int
    verdict: int
    probability: float  # calibrated, of a blast


@dataclass(frozen=True)
class Verdicts:
    """What a network says of a split whose labels are unknown."""

    n: int
    blasts: int
    normals: int


@dataclass(frozen=True)
class ModelFile:
    """The ONNX file that spoke."""

    path: str  # below the folder of artifacts
    sha256: str
    bytes: int
    provider: str  # of onnxruntime
    other_data: bool  # its manifest digest is another one (--allow-other-data)
    card: dict[str, Any]


@dataclass(frozen=True)
class Network:
    """One column of the report: a network, the classical baseline, or the ensemble of the networks."""

    file: ModelFile | None  # None for the baseline and the ensemble
    members: tuple[str, ...]  # whose calibrated probabilities the ensemble averages; () for a network
    threshold: float  # a cell whose calibrated probability reaches it is called a blast
    operating_point: str  # how that threshold was chosen
    temperature: float | None  # None for the baseline and the ensemble
    confusion: tuple[tuple[int, int], tuple[int, int]]  # rows: true 0, 1; columns: called 0, 1
    scores: Scores
    before: Reliability  # of the probabilities at temperature 1
    after: Reliability  # of the calibrated probabilities
    thresholds: tuple[ThresholdRow, ...]
    subjects: tuple[SubjectRow, ...]  # the worst first; () where subjects are unknown
    vote: Vote | None
    errors: tuple[ConfidentError, ...]
    unlabelled: dict[str, Verdicts]  # by split
    baseline: BaselineCard | None = None  # of the baseline alone


@dataclass(frozen=True)
class Pair:
    """Two columns' verdicts compared cell by cell."""

    a: str
    b: str
    agreement: float  # share of cells with the same verdict
    kappa: float | None  # Cohen's
    both_correct: int
    only_a: int  # cells that a alone gets right
    only_b: int
    both_wrong: int
    p: float  # McNemar's test, exact, two-sided; takes the cells as independent
    p_holm: float  # corrected for the number of pairs (Holm)


@dataclass(frozen=True)
class Dataset:
    """The cells that were scored."""

    name: str
    layout: str
    split: str
    split_by: str  # "given", "identity", "subject" or "image"
    n: int
    class_counts: tuple[int, int]
    classes: tuple[str, ...]
    subjects: int  # ids; 0: unknown
    subjects_shared_with_train: int
    people: int  # the same with ids of one person joined; where that is unknown (``Bootstrap.cluster``), ids again
    people_shared_with_train: int
    manifest_digest: str
    source_digest: str


@dataclass(frozen=True)
class Bootstrap:
    """How the intervals were made."""

    level: float
    resamples: int
    seed: int
    cluster: Literal["identity", "subject", "none"]
    clusters: int  # people, or subject ids, that are drawn anew; 0 where they are unknown

    @property
    def drawn(self) -> str:
        """What is drawn anew beside images, in words: ids are called people only where one person's are joined."""
        return {"identity": "people", "subject": "subject ids", "none": "people"}[self.cluster]


@dataclass(frozen=True)
class EpochAccuracy:
    """One epoch of a network's history.csv."""

    epoch: int
    train: float  # training phase
    valid: float  # testing phase


@dataclass(frozen=True)
class ReportRecord:
    """The whole of ``metrics.json``."""

    format: int
    date: str  # YYYY-MM-DD, UTC, or that of SOURCE_DATE_EPOCH
    dataset: Dataset
    bootstrap: Bootstrap
    orientations: int  # sides from which the networks looked at every cell: 1, or 8 (--orientations 8)
    networks: dict[str, Network]  # "resnet18", "resnet50", "resnet152", "baseline", as far as made; then "ensemble"
    pairs: tuple[Pair, ...]
    history: dict[str, tuple[EpochAccuracy, ...]]  # by network, as far as there is a history.csv
    notes: tuple[str, ...]  # sentences that a reader must not miss
    versions: dict[str, str]
    files: tuple[str, ...]  # everything that the report wrote beside metrics.json

    def to_json(self) -> str:
        return to_json(self)


def load_record(folder: Path) -> ReportRecord:
    """Read a report's ``metrics.json``; raises ``UserError`` where it is missing or is none."""
    path = folder / METRICS
    text = read_text(path, "make the report first (python evaluate/run.py)")
    return from_json(ReportRecord, text, str(path), FORMAT, AGAIN)
