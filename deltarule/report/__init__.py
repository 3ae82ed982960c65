"""The HTML report of a training run."""

from deltarule.report.page import Record as Record
from deltarule.report.page import report as report
