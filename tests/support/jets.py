"""Exact derivatives of an mpmath expression: numbers that carry their first and second derivative.

A jet is what a function is just above (or, with a first derivative of -1, just below) a point: where two values are
equal, the derivatives decide which is larger. So both sides of a kink can be seen without a step.
"""

from __future__ import annotations

from mpmath import mp, mpf

# Whether the digits may have been too few to tell two numbers apart; whether the side decided a comparison.
seen = {"close": False, "sided": False}


def _plus(a, b):
    s = a + b
    if a and not s:
        seen["close"] = True
    return s


class Jet:
    __slots__ = ("d", "e", "v")

    def __init__(self, v, d=mp.zero, e=mp.zero):
        self.v, self.d, self.e = v, d, e

    def __neg__(self):
        return Jet(-self.v, -self.d, -self.e)

    def __add__(self, other):
        b = jet(other)
        return Jet(_plus(self.v, b.v), _plus(self.d, b.d), _plus(self.e, b.e))

    def __mul__(self, other):
        b = jet(other)
        curve = _plus(_plus(self.v * b.e, self.e * b.v), 2 * self.d * b.d)
        return Jet(self.v * b.v, _plus(self.v * b.d, self.d * b.v), curve)

    def __pow__(self, n):
        below = self.v ** (n - 2) if n > 1 else mpf(0)
        slope = n * below * self.v if n > 1 else mpf(n)
        return self.chain(self.v**n, slope, n * (n - 1) * below)

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * jet(other).chain(1 / jet(other).v, -1 / jet(other).v ** 2, 2 / jet(other).v ** 3)

    def __rtruediv__(self, other):
        return jet(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def chain(self, f, first, second):
        return Jet(f, first * self.d, _plus(second * self.d**2, first * self.e))

    def __abs__(self):
        return -self if self < 0 else self

    def _order(self, other):
        b = jet(other)
        gap = self.v - b.v
        if self.v and b.v and abs(gap) <= abs(b.v) * mpf(10) ** (10 - mp.dps):
            seen["close"] = True
        seen["sided"] |= not gap
        return next((mp.sign(x) for x in (gap, self.d - b.d, self.e - b.e) if x), 0)

    def __lt__(self, other):
        return self._order(other) < 0

    def __le__(self, other):
        return self._order(other) <= 0

    def __gt__(self, other):
        return self._order(other) > 0

    def __ge__(self, other):
        return self._order(other) >= 0


def jet(x):
    return x if isinstance(x, Jet) else Jet(mpf(x))


def exp(x):
    e = mp.exp(jet(x).v)
    return jet(x).chain(e, e, e)


def expm1(x):
    e = mp.exp(jet(x).v)
    return jet(x).chain(mp.expm1(jet(x).v), e, e)


def log(x):
    v = jet(x).v
    if v == 1:
        seen["close"] = True
    return jet(x).chain(mp.log(v), 1 / v, -1 / v**2)


def log1p(x):
    v = jet(x).v
    return jet(x).chain(mp.log1p(v), 1 / (1 + v), -1 / (1 + v) ** 2)


def sqrt(x):
    s = mp.sqrt(jet(x).v)
    return jet(x).chain(s, 1 / (2 * s), -1 / (4 * s**3))
