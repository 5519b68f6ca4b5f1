from fastem.kernels.screening cimport screen
from fastem.kernels.shortlist cimport listed, n_listed, note_active, set_listed, shortens, write_entry
from fastem.kernels.vectors cimport real, vec, all_less, broadcast, lanes, load, n_vectors, store, wide, zero
from fastem.kernels.whitening cimport whiten

cdef void full_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef inline vec _difference(real[:, ::1] XT, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, Py_ssize_t b, Py_ssize_t place, real[:, ::1] scratch) noexcept nogil
cdef void tied_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef void diag_log_density(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, real[:, ::1] common, real[:, ::1] scratch, real[:, ::1] log_p) noexcept nogil
cdef inline void _subtract_four(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, real[:, ::1] log_p) noexcept nogil
cdef inline void _subtract_one(real[:, ::1] XT, Py_ssize_t n_rows, real[:, ::1] theta, Py_ssize_t k, Py_ssize_t i, real[:, ::1] log_p) noexcept nogil
