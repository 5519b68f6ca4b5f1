cimport cython
from fastem.kernels.merging cimport cluster_moments
from fastem.kernels.vectors cimport natural_log, real, square_root

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
@cython.locals(least=double, left=double)
cpdef void greedy_rows(const double[:, ::1] rows, const double[::1] weight, const double[::1] uniforms, Py_ssize_t[::1] chosen, double[::1] nearest, double[::1] reached, double[::1] chances) noexcept nogil
@cython.locals(total=double, square=double)
cdef double _reach(const double[:, ::1] rows, const double[::1] weight, Py_ssize_t chosen, const double[::1] nearest, double[::1] reached) noexcept nogil
@cython.locals(moved=double, shift=double)
cdef Py_ssize_t centres_update(const Py_ssize_t[::1] letters, Py_ssize_t step, double[:, ::1] S, const double[:, ::1] shared, double weight, const double[::1] tol, const real[:, ::1] before, double[:, ::1] work, double[:, :, :, ::1] matrices, double[:, :, ::1] axes, double[:, :, :, ::1] thin, double[:, ::1] table, real[:, ::1] theta, real[:, ::1] common) noexcept nogil
