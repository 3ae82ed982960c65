"""The lessons: every idea of the lectures as a small program that runs the real engine and checks its numbers.

>>> import deltarule as dr
>>> dr.lessons.names()[:3]
('neuron', 'festival', 'perceptron')
>>> result = dr.lessons.run("festival")
>>> result.passed, result.rows
(True, (2,))
"""

from deltarule.lessons.board import Board as Board
from deltarule.lessons.board import Result as Result
from deltarule.lessons.catalogue import Lesson as Lesson
from deltarule.lessons.catalogue import lesson as lesson
from deltarule.lessons.catalogue import names as names
from deltarule.lessons.catalogue import run as run
