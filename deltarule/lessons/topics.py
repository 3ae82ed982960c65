"""The rows of the lectures: what each is about, and whose lecture it comes from.

Lectures: B Baron (neural networks), I Ibrahimli (introduction), P Poleski (introduction), H Heon (intro to neural networks),
N Neural Network Basics.
"""

from typing import NamedTuple


class Topic(NamedTuple):
    """One row: its section, what it is about, and the lectures that hold it."""

    section: str
    about: str
    lectures: str


NEURONS, OUTPUTS, LEARNING, IMAGES = "Neurons", "Activations, losses, output", "Networks and learning", "Images"
SEQUENCES = "Sequences"

TOPICS: dict[int, Topic] = {
    1: Topic(NEURONS, "the neuron, a = sum w x + b, y = f(a); what bias and weights do", "B N"),
    2: Topic(NEURONS, "the perceptron's decision, with a threshold or with a bias", "I"),
    3: Topic(NEURONS, "the perceptron learning rule", "H B N"),
    4: Topic(NEURONS, "the linear neuron, Adaline and the delta rule; the learning rate", "H"),
    5: Topic(NEURONS, "the sigmoid neuron as logistic regression", "I N"),
    6: Topic(NEURONS, "separability, the decision line, XOR", "N H"),
    7: Topic(NEURONS, "layers of perceptrons; one against all", "I N"),
    8: Topic(NEURONS, "small changes of weights make small changes of the output", "I"),
    9: Topic(NEURONS, "the biological neuron; oriented filters of the visual cortex", "N H"),
    10: Topic(OUTPUTS, "activation functions and their derivatives", "B H N P"),
    11: Topic(OUTPUTS, "why activations must be non-linear", "H N"),
    12: Topic(OUTPUTS, "vanishing gradients; dying ReLUs and their cure", "N H"),
    13: Topic(OUTPUTS, "ReLU learns faster than tanh and sigmoid in deep networks", "P"),
    14: Topic(OUTPUTS, "squared error, cross-entropy, one-hot targets", "B I P H N"),
    15: Topic(OUTPUTS, "softmax", "N B"),
    16: Topic(LEARNING, "dense layers, the multilayer perceptron, counting parameters", "B N"),
    17: Topic(LEARNING, "backpropagation: a, h, delta at every unit; the four equations", "B I P H"),
    18: Topic(LEARNING, "Trask's toy network", "B"),
    19: Topic(LEARNING, "batch, stochastic and mini-batch gradient descent; gradient noise", "B I"),
    20: Topic(LEARNING, "approximating functions with three hidden units", "P"),
    21: Topic(LEARNING, "universal approximation and capacity", "B N"),
    22: Topic(LEARNING, "how layers bend space", "P"),
    23: Topic(LEARNING, "validation, overfitting and what helps against it", "I B H"),
    24: Topic(LEARNING, "hyper-parameters, tuned against a metric on rows held out", "H N"),
    25: Topic(LEARNING, "accuracy, precision, recall and their relatives", "H"),
    26: Topic(LEARNING, "the problem comes first: architecture, loss and metrics follow", "H"),
    27: Topic(IMAGES, "handwritten digits with 784 inputs and one-hot targets", "I"),
    28: Topic(IMAGES, "convolution along sequences, over images and through volumes", "B P N"),
    29: Topic(IMAGES, "feature maps, shared weights, local connections", "B P"),
    30: Topic(IMAGES, "max, average and global pooling; what small shifts change", "B P N"),
    31: Topic(IMAGES, "receptive fields, worked out and measured; dilation", "B"),
    32: Topic(IMAGES, "the convolutional network: [Conv ReLU Conv ReLU Pool] x k, Flatten, Dense, Softmax", "B"),
    33: Topic(IMAGES, "a one-dimensional convolutional network of three layers", "B"),
    34: Topic(IMAGES, "a hierarchy of representations: pixels, edges, motifs, objects", "P"),
    35: Topic(IMAGES, "semantic and instance segmentation; atoms in microscope images", "H"),
    36: Topic(IMAGES, "the classes of galaxies", "P"),
    37: Topic(SEQUENCES, "the recurrent network with U, V, W; backpropagation through time; why it is hard to train", "P N"),
    38: Topic(SEQUENCES, "LSTM and GRU: input, forget and output gate, cell state; both ways, stacked, variable length", "P N"),
    39: Topic(SEQUENCES, "attention, many heads, places, transformers", "N"),
    40: Topic(SEQUENCES, "light curves of stars, sound, text: sequences as they come", "P"),
    41: Topic(SEQUENCES, "captions of images: CNN and RNN with attention", "P"),
}
