cimport cython
from fastem.kernels.merging cimport cluster_moments
from fastem.kernels.vectors cimport natural_log, square_root

@cython.locals(total=double, scale=double)
cpdef void adaptive_labels(const double[:, ::1] rows, const double[::1] weight, const double[::1] uniforms, Py_ssize_t[::1] labels, double[::1] squares, double[::1] shortfall, double[::1] masses, double[:, ::1] means, double[:, ::1] scatters, double[:, ::1] factors) noexcept nogil
@cython.locals(total=double, below=double)
cdef Py_ssize_t _drawn(double[::1] chances, double uniform) noexcept nogil
@cython.locals(square=double)
cdef void _add_cluster(const double[:, ::1] rows, Py_ssize_t chosen, Py_ssize_t k, Py_ssize_t[::1] labels, double[::1] squares) noexcept nogil
@cython.locals(square=double, along=double, prior_mass=double)
cdef void _find_shortfall(const double[:, ::1] rows, const double[::1] weight, double scale, Py_ssize_t n_clusters, Py_ssize_t[::1] labels, double[::1] shortfall, double[::1] masses, double[:, ::1] means, double[:, ::1] scatters, double[:, ::1] factors) noexcept nogil
@cython.locals(total=double)
cdef double _inverse_root(Py_ssize_t k, double ridge, double mass, Py_ssize_t n_directions, double[:, ::1] scatters, double[:, ::1] factors) noexcept nogil
