// Few filters would leave most of a vector idle: there neighbouring pixels of a row of outputs count as one.
//
// N of them have N F filters, side by side as they lie in memory, and one window that is (N - 1) s columns wider: filter f of pixel m sees
// K[i, j, c, f] in column j + m s, and zeros elsewhere. A row of the kernel then takes kw + (N - 1) s products of vectors for N pixels, in
// place of N kw: with 5 columns and 6 filters in 16 lanes 6 in place of 10. A value that is not finite reaches all of the N.
#pragma once
#include "lines.h"

struct Neighbours {
  static constexpr int64_t MOST = 4;
  int64_t N, F, kw, step;       // pixels that count as one; the filters, the columns of the kernel and the stride of each
  Shape joined;                 // the convolution that this is

  // `apart`: no pixel is joined with another.
  explicit Neighbours(const Shape& s, bool apart) : N(1), F(s.F), kw(s.kw), step(s.sw), joined(s) {
    for (int64_t n = 2; !apart && s.dw == 1 && n <= std::min({L / s.F, s.Q, MOST}); ++n)
      if (5 * (kw + (n - 1) * step) <= 4 * n * kw) N = n;       // a fifth less to do at least
    joined.kw += (N - 1) * step, joined.sw *= N, joined.F *= N, joined.Q = (s.Q + N - 1) / N;
  }

  // From K (kh, kw, C, F): the joined weights (kh, joined kw, C, N F), filters in whole vectors.
  Floats take(const float* K) const {
    const int64_t Fp = full(joined.F), C = joined.C;
    Floats weights(joined.taps() * C * Fp, 0.f);
    for (int64_t i = 0; i < joined.kh; ++i)
      for (int64_t k = 0; k < kw * C; ++k)
        for (int64_t m = 0; m < N; ++m)
          std::memcpy(&weights[((i * joined.kw + m * step) * C + k) * Fp + m * F], K + (i * kw * C + k) * F, F * sizeof(float));
    return weights;
  }

  // The way back: the sums of F filters from those of the joined ones, of which pixel m's lie m `further` + m F behind the first.
  void gather(const float* sums, float* to, int64_t further = 0) const {
    std::memcpy(to, sums, F * sizeof(float));
    for (int64_t m = 1; m < N; ++m)
      for (int64_t f = 0; f < F; ++f) to[f] += sums[m * (further + F) + f];
  }

  // dL/dK from the joined sums.
  void give(const float* sums, float* dK) const {
    const int64_t Fp = full(joined.F), C = joined.C;
    for (int64_t i = 0; i < joined.kh; ++i)
      for (int64_t k = 0; k < kw * C; ++k) gather(sums + (i * joined.kw * C + k) * Fp, dK + (i * kw * C + k) * F, step * C * Fp);
  }
};
