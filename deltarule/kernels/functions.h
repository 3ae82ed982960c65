// Functions of vectors, to the last bits of single precision.
#pragma once
#include <cmath>
#include <limits>
#include "vectors.h"

static inline vec each(float value) { return value - vec{}; }
static inline vec larger(vec a, vec b) { return a > b ? a : b; }

// exp(x) = 2^k exp(r) with x = k ln 2 + r, |r| <= ln 2 / 2, and exp(r) by its series; up to 88. Below -87, minus infinity included, it is 0;
// what is not a number stays so.
static inline vec exp_of(vec x) {
  const vec within = x < -90.f ? each(-90.f) : x, magic = each(12582912.f);
  const vec shifted = within * 1.44269504f + magic, k = shifted - magic;
  const vec r = (within - k * 0.693145752f) - k * 1.42860677e-6f;       // ln 2 in two parts
  vec p = r * (1 / 5040.f) + 1 / 720.f;
  p = p * r + 1 / 120.f, p = p * r + 1 / 24.f, p = p * r + 1 / 6.f, p = p * r + 0.5f;
  p = p * r * r + r + 1.f;
  const vec y = p * (vec)(((ints)shifted - (ints)magic + 127) << 23);
  return x < -87.f ? vec{} : y;
}

// tanh(x) = E / (E + 2), E = exp(2 x) - 1 = 2^k (exp(r) - 1) + 2^k - 1 with 2 x = k ln 2 + r, the exponential by its series. From 9.1 on
// tanh is 1 in single precision. What is not a number stays so.
static inline vec tanh_of(vec x) {
  const vec end = each(9.1f);
  x = x > end ? end : x;
  x = x < -end ? -end : x;
  const vec magic = each(12582912.f), shifted = x * (2 * 1.44269504f) + magic, k = shifted - magic;
  const vec r = (2 * x - k * 0.693145752f) - k * 1.42860677e-6f;      // ln 2 in two parts
  vec q = r * (1 / 5040.f) + 1 / 720.f;
  q = q * r + 1 / 120.f, q = q * r + 1 / 24.f, q = q * r + 1 / 6.f, q = q * r + 0.5f;
  q = q * r * r + r;
  const vec power = (vec)(((ints)shifted - (ints)magic + 127) << 23);
  const vec E = power * q + (power - 1.f);
  return E / (E + 2.f);
}
