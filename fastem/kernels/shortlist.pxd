from fastem.kernels.vectors cimport real, lanes, load, n_vectors, store, truncate

cdef inline bint has_list(real[:, ::1] log_p, Py_ssize_t n_components) noexcept nogil
cdef inline void list_all(real[:, ::1] log_p, Py_ssize_t n_components) noexcept nogil
cdef inline bint shortens(real[:, ::1] log_p, Py_ssize_t n_components) noexcept nogil
cdef inline void note_active(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t count) noexcept nogil
cdef inline Py_ssize_t n_listed(real[:, ::1] log_p, Py_ssize_t n_components) noexcept nogil
cdef inline void set_listed(real[:, ::1] log_p, Py_ssize_t count) noexcept nogil
cdef inline Py_ssize_t listed(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t index) noexcept nogil
cdef inline double read_entry(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t index) noexcept nogil
cdef inline void write_entry(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t index, double value) noexcept nogil
cdef inline void spread(real[:, ::1] log_p, Py_ssize_t n_components, Py_ssize_t n_rows) noexcept nogil
