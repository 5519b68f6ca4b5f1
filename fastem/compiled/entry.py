import cython


def cpu_level():
    return fastem_cpu_level()


def run_accumulate_panels(
    log_density, accumulate, X, sample_weight, given, order, start, stop, panel_rows, theta, common, taken, XT, log_p,
    rows, scratch, S, log_likelihood,
):  # fmt: skip
    density_kernel = log_density_kernel(log_density)
    accumulate_kernel = moments_kernel(accumulate)
    with cython.nogil:
        # Several threads are in here; each panel goes to the one that takes its number.
        p = fastem_take(cython.address(taken[0]))
        while p < S.shape[0]:
            first = start + p * panel_rows
            last = min(first + panel_rows, stop)
            log_likelihood[p] = accumulate_panel(
                density_kernel, accumulate_kernel, X, sample_weight, given, order, first, last, theta, common, XT,
                log_p, rows, scratch, S[p],
            )  # fmt: skip
            p = fastem_take(cython.address(taken[0]))


def run_evaluate_panels(
    log_density, X, start, stop, panel_rows, n_panels, theta, common, taken, XT, log_p, rows, scratch, labels,
    log_likelihood, responsibilities,
):  # fmt: skip
    density_kernel = log_density_kernel(log_density)
    with cython.nogil:
        p = fastem_take(cython.address(taken[0]))
        while p < n_panels:
            first = start + p * panel_rows
            last = min(first + panel_rows, stop)
            evaluate_panel(
                density_kernel, X, first, last, theta, common, XT, log_p, rows, scratch, labels, log_likelihood,
                responsibilities,
            )  # fmt: skip
            p = fastem_take(cython.address(taken[0]))
