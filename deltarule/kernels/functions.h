// Functions of vectors, to the last bits of single precision.
#pragma once
#include <cmath>
#include <limits>
#include "vectors.h"

static inline vec each(float value) { return value - vec{}; }
// The smaller and the larger one, b where either is not a number: one instruction, which compilers do not find by themselves.
#if defined(__AVX512F__)
static inline vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
static inline vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
static inline vec smaller(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
static inline vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
#else
static inline vec smaller(vec a, vec b) { return a < b ? a : b; }
static inline vec larger(vec a, vec b) { return a > b ? a : b; }
#endif

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

// tanh(x) = E / (E + 2), E = exp(2 x) - 1 = 2^k (exp(2 r) - 1) + 2^k - 1 with x = k ln 2 / 2 + r, |r| <= ln 2 / 4, and exp(2 r) - 1 by a
// polynomial fitted so that its relative error is below 2e-8. From 9.1 on tanh is 1 in single precision. What is not a number stays so.
static inline vec tanh_of(vec x) {
  x = larger(each(-9.1f), smaller(each(9.1f), x));
  const vec magic = each(12582912.f), shifted = x * (2 * 1.44269504f) + magic, k = shifted - magic, r = x - k * 0.34657359f;
  vec q = r * 0.0888477401f + 0.26773909f;
  q = q * r + 0.666675366f, q = q * r + 1.3333233f, q = q * r + 1.99999992f;
  q = q * (r * r) + (r + r);
  const vec power = (vec)(((ints)shifted << 23) + 0x3F800000);      // 2^k: the low bits of `shifted` are k
  const vec E = power * q + (power - 1.f);
  return E / (E + 2.f);
}
