// What follows a convolution while its rows are still in the cache, an activation and a pooling; and how errors come back through both.
#pragma once
#include "functions.h"
#include "lines.h"

enum Activation { LINEAR, RELU, TANH };

// tanh of neighbouring numbers.
static void bend(float* a, int64_t count) {
  for (int64_t k = 0; k < count; k += L) store(a + k, tanh_of(load(a + k, count - k)), count - k);
}

// dL/da from dL/dh and h = g(a).
static inline vec error_of(int64_t activation, vec dh, vec h) { return activation == TANH ? dh * (1.f - h * h) : h > 0 ? dh : vec{}; }

// Where the values of a pooled window lie, seen from its first, in rows `row` and pixels `pixel` apart.
static std::vector<int64_t> window_of(const Shape& s, int64_t row, int64_t pixel) {
  std::vector<int64_t> places;
  for (int64_t r = 0; r < s.ph; ++r)
    for (int64_t c = 0; c < s.pw; ++c) places.push_back(r * row + c * pixel);
  return places;
}

// Rows of outputs become one: y the largest value of each window, `which` its number, or 255 where a ReLU is off.
static void pool(const Shape& s, const std::vector<int64_t>& window, const float* rows, int64_t pixel, bool relu, float* y, uint8_t* which) {
  for (int64_t q = 0; q < s.Q / s.pw; ++q, rows += s.pw * pixel, y += s.F, which += s.F)
    for (int64_t f = 0; f < s.F; f += L) {
      vec best = load(rows + f);
      ints first = {};
      for (size_t o = 1; o < window.size(); ++o) {
        const vec value = load(rows + window[o] + f);
        const ints more = (value > best) | (value != value);
        best = more ? value : best;
        first = more ? ints{} + (int32_t)o : first;
      }
      if (relu) {
        first = best <= 0 ? ints{} + 255 : first;
        best = relu_of(best);
      }
      store(y + f, best, s.F - f);
      store_bytes(which + f, first, s.F - f);
    }
}

// Rows of outputs become one, of the means of each window.
static void average(const Shape& s, const std::vector<int64_t>& window, const float* rows, int64_t pixel, float* y) {
  const float share = 1.f / (float)window.size();
  for (int64_t q = 0; q < s.Q / s.pw; ++q, rows += s.pw * pixel, y += s.F)
    for (int64_t f = 0; f < s.F; f += L) {
      vec sum = load(rows + f, s.F - f);
      for (size_t o = 1; o < window.size(); ++o) sum += load(rows + window[o] + f, s.F - f);
      store(y + f, sum * share, s.F - f);
    }
}

// delta (P, width, F): the errors of the pre-activations of one image, where wanted (`padded`) with `left` columns of zeros before them and
// enough behind, also where `many` pixels count as one.
struct Errors {
  int64_t many, left, width, F;
  Errors(const Shape& s, int64_t many, bool padded)
      : many(many), left(padded ? std::max<int64_t>(0, -below(s.left - (s.kw - 1) * s.dw, s.sw)) : 0),
        width(padded ? left + std::max((s.Q + many - 1) / many * many, below(s.W - 1 + s.left, s.sw) + 1) : s.Q), F(s.F) {}
  int64_t row() const { return width * F; }
  int64_t size(const Shape& s) const { return s.P * row() + L; }        // the last pixel is read as a whole vector
};

// From dL/dh (P, Q, F) and h, if there is an activation.
static void errors_of(const Shape& s, const Errors& e, const float* dh, const float* h, int64_t activation, float* delta) {
  const int64_t row = s.Q * s.F;
  for (int64_t p = 0; p < s.P; ++p, dh += row)
    for (int64_t k = 0; k < row; k += L) {
      const vec value = load(dh + k, row - k);
      store(delta + p * e.row() + e.left * e.F + k, h ? error_of(activation, value, load(h + p * row + k, row - k)) : value, row - k);
    }
}

// From dL/dh of the pooled outputs (P / ph, Q / pw, F): each goes to the value of its window that was the largest.
static void errors_of_pooled(const Shape& s, const Errors& e, const std::vector<int64_t>& window, const float* dh, const float* h,
                             int64_t activation, const uint8_t* which, float* delta) {
  for (int64_t p = 0; p < s.P / s.ph; ++p)
    for (int64_t q = 0; q < s.Q / s.pw; ++q, dh += s.F, which += s.F) {
      float* to = delta + p * s.ph * e.row() + (e.left + q * s.pw) * s.F;
      for (int64_t f = 0; f < s.F; f += L) {
        vec value = load(dh + f, s.F - f);
        if (h) value = error_of(activation, value, load(h + (p * (s.Q / s.pw) + q) * s.F + f, s.F - f));
        const ints first = load_bytes(which + f, s.F - f);
        for (size_t o = 0; o < window.size(); ++o) store(to + window[o] + f, first == (int32_t)o ? value : vec{}, s.F - f);
      }
    }
}

// The same in equal parts to all values h (P, Q, F) of the window, which are there if there is an activation.
static void errors_of_averages(const Shape& s, const Errors& e, const float* dh, const float* h, int64_t activation, float* delta) {
  const float share = 1.f / (float)(s.ph * s.pw);
  const int64_t row = s.Q / s.pw * s.pw * s.F;
  for (int64_t p = 0; p < s.P / s.ph; ++p) {
    float *to = delta + p * s.ph * e.row() + e.left * s.F, *shares = to + (s.ph - 1) * e.row();     // one row of them, where the last one goes
    for (int64_t q = 0; q < s.Q / s.pw; ++q, dh += s.F)
      for (int64_t f = 0; f < s.F; f += L) {
        const vec value = load(dh + f, s.F - f) * share;
        for (int64_t c = 0; c < s.pw; ++c) store(shares + (q * s.pw + c) * s.F + f, value, s.F - f);
      }
    for (int64_t r = 0; r < s.ph; ++r, to += e.row())
      for (int64_t k = 0; k < row; k += L) {
        const vec value = load(shares + k, row - k);
        store(to + k, h ? error_of(activation, value, load(h + (p * s.ph + r) * s.Q * s.F + k, row - k)) : value, row - k);
      }
  }
}
