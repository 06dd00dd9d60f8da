"""Reversible changes of a loaded U-Net or autoencoder, one file a technique.

Each is a context manager: inside it the model computes otherwise, afterwards (an exception or not) exactly as before.
They are made of PyTorch's hooks and of attributes that are put back; weights are never touched. They compose in any order.
"""
