"""The hot loops, in the plain subset of Python that Numba, Cython and CPython all take.

The arguments run: data, range, parameters, scratch, outputs. Rows of a block lie along the columns of
``XT[D, B]``, so that the vector lanes hold rows; every loop over rows works on whole vectors, and the
columns beyond ``n_rows`` are padding that carries no weight.
"""
