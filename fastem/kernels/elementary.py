"""Exponential and logarithm of a vector, branch-free."""

from fastem.kernels.vectors import exponent, fill, is_double, mantissa, scale_exponent, where_less


def exp_nonpositive(x):
    """``exp(x)`` for ``x <= 0``; exactly 0 below -50.

    A responsibility under ``exp(-50) = 2e-22`` changes no sum in double precision, and a true zero lets whole blocks
    be skipped and keeps subnormal numbers out. Cody-Waite reduction, minimax polynomial of degree 11 (6 in single
    precision), error about 1 ulp.
    """
    if is_double(x):
        # The shift leaves the rounded multiple of log 2 in the low bits of the significand.
        shift = fill(x, 6755399441055744.0)
        shifted = x * fill(x, 1.4426950408889634) + shift
        n = shifted - shift
        r = (x - n * fill(x, 0.6931471803691238)) - n * fill(x, 1.908214929270588e-10)
        # By pairs (Estrin): Horner's chain of 11 dependent steps took a quarter longer.
        a = fill(x, 2.5100385495510319e-8) * r + fill(x, 2.7620088445409748e-7)
        b = fill(x, 2.7557268459997065e-6) * r + fill(x, 2.4801521295954375e-5)
        c = fill(x, 1.9841269853063622e-4) * r + fill(x, 1.3888888917213717e-3)
        d = fill(x, 8.3333333333300618e-3) * r + fill(x, 4.1666666666624128e-2)
        e = fill(x, 1.6666666666666667e-1) * r + fill(x, 0.5)
        z = r * r
        q = ((a * z + b) * (z * z) + (c * z + d)) * z + e
    else:
        shift = fill(x, 12582912.0)
        shifted = x * fill(x, 1.4426950408889634) + shift
        n = shifted - shift
        r = (x - n * fill(x, 0.693115234375)) - n * fill(x, 3.194618494530941e-5)
        q = fill(x, 1.3926183587713495e-3)
        q = q * r + fill(x, 8.3631790527225774e-3)
        q = q * r + fill(x, 4.1666554617204574e-2)
        q = q * r + fill(x, 1.6666576989698776e-1)
        q = q * r + fill(x, 0.5)
    p = q * (r * r) + r + fill(x, 1.0)
    return where_less(x, fill(x, -50.0), fill(x, 0.0), scale_exponent(p, shifted))


def log_positive(x):
    """``log(x)`` for normal ``x > 0``, through ``2 atanh((m - 1) / (m + 1))`` of the significand ``m``; 2 ulp."""
    e = exponent(x)
    m = mantissa(x)
    root2 = fill(x, 1.4142135623730951)
    one = fill(x, 1.0)
    e = where_less(root2, m, e + one, e)
    m = where_less(root2, m, m * fill(x, 0.5), m)
    s = (m - one) / (m + one)
    z = s * s
    if is_double(x):
        # By pairs too.
        y = z * z
        a = fill(x, 1.3086626147840102e-1) * z + fill(x, 1.3268773138656885e-1)
        b = fill(x, 1.5386239702814659e-1) * z + fill(x, 1.8181795640132906e-1)
        c = fill(x, 2.2222222391713917e-1) * z + fill(x, 2.8571428570803612e-1)
        d = fill(x, 4.0000000000000877e-1) * z + fill(x, 6.6666666666666666e-1)
        g = (a * y + b) * (y * y) + (c * y + d)
    else:
        g = fill(x, 2.3330467216303836e-1)
        g = g * z + fill(x, 2.8550820815960663e-1)
        g = g * z + fill(x, 4.0000123839806126e-1)
        g = g * z + fill(x, 6.6666666554497092e-1)
    tail = s * z * g + e * fill(x, 1.908214929270588e-10)
    # x - x is 0, or NaN where x is infinite or NaN: the exponent's bits alone would make a finite number of them.
    return e * fill(x, 0.6931471803691238) + (s + s + tail) + (x - x)
