cimport cython
from fastem.kernels.vectors cimport real, natural_log, square_root

ctypedef Py_ssize_t (*update_t)(double[:, ::1] S, double weight, double[::1] ridge, real[:, ::1] before, double[:, ::1] work, real[:, ::1] theta) noexcept nogil

@cython.locals(total=double)
cdef Py_ssize_t full_update(double[:, ::1] S, double weight, double[::1] ridge, real[:, ::1] before, double[:, ::1] work, real[:, ::1] theta) noexcept nogil
@cython.locals(total=double)
cdef double _invert_root(Py_ssize_t n_features, double[:, ::1] work) noexcept nogil
cdef void _pack_tiles(Py_ssize_t n_features, double[:, ::1] work, Py_ssize_t k, real[:, ::1] theta) noexcept nogil
