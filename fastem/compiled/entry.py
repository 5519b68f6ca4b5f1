import cython


def cpu_level():
    return fastem_cpu_level()


def run_accumulate_panel(
    log_density, accumulate, X, sample_weight, given, start, stop, theta, common, XT, log_p, rows, scratch, S
):
    density_kernel = log_density_kernel(log_density)
    accumulate_kernel = moments_kernel(accumulate)
    with cython.nogil:
        total = accumulate_panel(
            density_kernel,
            accumulate_kernel,
            X,
            sample_weight,
            given,
            start,
            stop,
            theta,
            common,
            XT,
            log_p,
            rows,
            scratch,
            S,
        )
    return total


def run_evaluate_panel(
    log_density, X, start, stop, theta, common, XT, log_p, rows, scratch, labels, log_likelihood, responsibilities
):
    density_kernel = log_density_kernel(log_density)
    with cython.nogil:
        evaluate_panel(
            density_kernel,
            X,
            start,
            stop,
            theta,
            common,
            XT,
            log_p,
            rows,
            scratch,
            labels,
            log_likelihood,
            responsibilities,
        )
