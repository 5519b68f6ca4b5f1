from fastem.kernels.screening cimport screen
from fastem.kernels.shortlist cimport has_list, listed, n_listed, set_listed, write_entry
from fastem.kernels.vectors cimport real, vec, all_less, broadcast, lanes, load, n_vectors, store, zero
from fastem.kernels.whitening cimport whiten

cdef void full_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef void tied_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef void diag_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef inline void _subtract_four(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, real[:, ::1] log_p) noexcept nogil
cdef inline void _subtract_one(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, real[:, ::1] log_p) noexcept nogil
