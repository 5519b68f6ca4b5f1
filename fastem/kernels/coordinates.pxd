cimport cython
from fastem.kernels.structures cimport _diagonalise
from fastem.kernels.vectors cimport real, square_root

@cython.locals(size=double, largest=double, square=double)
cpdef Py_ssize_t whiten_rows(const double[:, ::1] rows, double[::1] share, Py_ssize_t n_trims, double far_out, double constant, double collinear, double[:, ::1] matrix, double[:, ::1] axes, double[:, ::1] table, double[:, ::1] coordinates) noexcept nogil
@cython.locals(total=double, apart=double, deviation=double)
cdef void _correlate(const double[:, ::1] rows, const double[::1] share, double constant, double[:, ::1] table, double[:, ::1] matrix) noexcept nogil
@cython.locals(total=double, apart=double)
cdef double _look_from(const double[:, ::1] rows, Py_ssize_t row, const double[:, ::1] table, const double[:, ::1] axes, Py_ssize_t n_kept, double[:, ::1] coordinates) noexcept nogil
@cython.locals(largest=double, variance=double, total=double)
cpdef void unit_rows(const double[:, ::1] rows, const double[:, ::1] within, double collinear, double[:, ::1] matrix, double[:, ::1] axes, double[:, ::1] coordinates) noexcept nogil
@cython.locals(centre=double, mass=double, shift=double, total=double)
cpdef void bulk_variances(const real[:, :] X, const double[::1] weight, Py_ssize_t n_trims, double far_out, double[::1] shares, double[::1] variances) noexcept nogil
