// Convolutions of kernels 3 or 5 columns wide with fewer multiplications (Winograd 1980; for images Lavin and Gray 2016).
//
// Two neighbouring outputs of three weights, y0 = d0 g0 + d1 g1 + d2 g2 and y1 = d1 g0 + d2 g1 + d3 g2, need four products in place of six:
//
//   m0 = (d0 - d2) g0,  m1 = (d1 + d2) (g0 + g1 + g2) / 2,  m2 = (d2 - d1) (g0 - g1 + g2) / 2,  m3 = (d1 - d3) g2
//   y0 = m0 + m1 + m2,  y1 = m1 - m2 - m3
//
// Two more weights g3, g4 need three in place of four, which join the sums they belong to:
//
//   m0 += (d3 - d4) g3,  m1 += d4 (g3 + g4),  m3 += (d4 - d5) g4
//
// The sums over rows of the kernel and channels are taken in between, by the same products in registers as elsewhere. Halves are exact, so
// whole numbers stay whole; other numbers lose a bit or two. A value that is not finite reaches the neighbour in its pair.
#pragma once
#include "lines.h"

// An image in memory: value (r, q, c) at r row + q pixel + c.
struct Plane { const float* at; int64_t row, pixel, H, W, C; };

struct Winograd {
  int64_t kh, kw, points, C, Fp, tiles, Q;      // kernel, products of a pair, channels, filters in whole vectors, pairs and outputs in a row
  Floats weights;                   // (kh, points, C, Fp)
  Floats none;                      // a pixel outside the image

  // From K (kh, kw, C, Fp).
  Winograd(int64_t kh, int64_t kw, int64_t C, int64_t Fp, int64_t Q)
      : kh(kh), kw(kw), points(kw == 3 ? 4 : 7), C(C), Fp(Fp), tiles((Q + 1) / 2), Q(Q), none(full(C), 0.f) {}

  static bool pays(const Shape& s) {
    return s.sh == 1 && s.sw == 1 && s.dh == 1 && s.dw == 1 && (s.kw == 3 || s.kw == 5) && s.C >= 8 && s.F >= 8 && s.Q >= 4 && s.W >= 4;
  }

  void take(const float* K) {
    const int64_t size = C * Fp;
    weights.resize(kh * points * size);
    for (int64_t i = 0; i < kh; ++i)
      for (int64_t e = 0; e < size; e += L) {
        const float* g = K + i * kw * size + e;
        float* to = &weights[i * points * size + e];
        const vec g0 = load(g), g1 = load(g + size), g2 = load(g + 2 * size), even = (g0 + g2) * 0.5f, odd = g1 * 0.5f;
        store(to, g0), store(to + size, even + odd), store(to + 2 * size, even - odd), store(to + 3 * size, g2);
        if (kw == 3) continue;
        const vec g3 = load(g + 3 * size), g4 = load(g + 4 * size);
        store(to + 4 * size, g3), store(to + 5 * size, g3 + g4), store(to + 6 * size, g4);
      }
  }

  // The way back: dL/dK from the sums of products of each point.
  void give(const float* sums, float* dK) const {
    const int64_t size = C * Fp;
    for (int64_t i = 0; i < kh; ++i)
      for (int64_t e = 0; e < size; e += L) {
        const float* m = sums + i * points * size + e;
        float* to = dK + i * kw * size + e;
        const vec m0 = load(m), m1 = load(m + size), m2 = load(m + 2 * size), m3 = load(m + 3 * size), even = (m1 + m2) * 0.5f;
        store(to, m0 + even), store(to + size, (m1 - m2) * 0.5f), store(to + 2 * size, even + m3);
        if (kw == 3) continue;
        const vec m5 = load(m + 5 * size);
        store(to + 3 * size, load(m + 4 * size) + m5), store(to + 4 * size, m5 + load(m + 6 * size));
      }
  }

  static void make(Floats& room, int64_t size) { if ((int64_t)room.size() < size) room.resize(size); }

  // A patch of pairs of outputs: of `rows` rows of inputs, `count` pairs from number t on.
  struct Patch { int64_t rows, t, count; };
  int64_t apart(const Patch& p) const { return p.rows * p.count * C; }      // from point to point

  // Rows of outputs in a patch, and pairs: their inputs are some 1 MB; where no row is seen twice, as much as the nearest cache holds.
  int64_t band(int64_t P) const { return kh == 1 ? 1 : std::clamp<int64_t>((1 << 18) / (points * tiles * C) - kh + 1, 1, P); }
  int64_t across(int64_t room) const { return kh == 1 ? std::clamp<int64_t>(room / std::max(C, Fp), 12, tiles) : tiles; }

  // Whether three rows of the kernel are taken at once: with one vector of filters every product would fetch its own value of x.
  bool falls() const { return kh == 3 && kw == 3 && Fp == L; }

  // The inputs of rows first, first + 1 ... of x, whose column -left comes first: (points, rows, count, C).
  void inputs(const Plane& x, int64_t left, int64_t first, const Patch& p, float* to) const {
    const bool whole = C % L == 0;
    if (kw == 3) whole ? inputs_of<3, true>(x, left, first, p, to) : inputs_of<3, false>(x, left, first, p, to);
    else whole ? inputs_of<5, true>(x, left, first, p, to) : inputs_of<5, false>(x, left, first, p, to);
  }

  template <int KW, bool WHOLE>
  void inputs_of(const Plane& x, int64_t left, int64_t first, const Patch& p, float* to) const {
    const int64_t further = apart(p), stop = p.t + p.count;
    const int64_t from = std::clamp<int64_t>((left + 1) / 2, p.t, stop);      // to `end`: pairs that lie inside the image
    const int64_t end = std::clamp<int64_t>(below(x.W - 1 - KW + left, 2) + 1, from, stop);
    for (int64_t r = first; r < first + p.rows; ++r) {
      if (r < 0 || r >= x.H) { to += p.count * C; continue; }      // nobody asks for them
      for (int64_t t = p.t; t < stop; ++t, to += C) {
        const float *d[KW + 1], *at = x.at + r * x.row + (2 * t - left) * x.pixel;
        for (int64_t j = 0; j <= KW; ++j) d[j] = at + j * x.pixel;
        if (t < from || t >= end)
          for (int64_t j = 0, q = 2 * t - left; j <= KW; ++j, ++q) if (q < 0 || q >= x.W) d[j] = none.data();
        for (int64_t c = 0; c < C; c += L) {
          const int64_t n = WHOLE ? L : C - c;
          auto value = [&](int64_t j) { return WHOLE ? load(d[j] + c) : load(d[j] + c, n); };
          auto put = [&](int64_t k, vec u) { WHOLE ? store(to + k * further + c, u) : store(to + k * further + c, u, n); };
          const vec d1 = value(1), d2 = value(2), d3 = value(3);
          put(0, value(0) - d2), put(1, d1 + d2), put(2, d2 - d1), put(3, d1 - d3);
          if (KW == 3) continue;
          const vec d4 = value(KW - 1), d5 = value(KW);
          put(4, d3 - d4), put(5, d4), put(6, d4 - d5);
        }
      }
    }
  }

  // The errors of the products from those of the outputs: m0, m1, m2, m3 (4, rows, count, Fp); m4, m5, m6 have those of m0, m1, m3.
  void errors(const float* delta, int64_t row, int64_t F, const Patch& p, float* to) const {
    const int64_t further = p.rows * p.count * Fp;
    for (int64_t r = 0; r < p.rows; ++r, delta += row)
      for (int64_t t = p.t; t < p.t + p.count; ++t, to += Fp)
        for (int64_t f = 0; f < Fp; f += L) {
          const vec first = load(delta + 2 * t * F + f), second = 2 * t + 1 < Q ? load(delta + (2 * t + 1) * F + f) : vec{};
          store(to + f, first), store(to + further + f, first + second);
          store(to + 2 * further + f, first - second), store(to + 3 * further + f, -second);
        }
  }

  // Sums of products, which lie `further` from each other, become outputs, F of them for each pixel, `pixel` apart.
  void outputs(const float* sums, int64_t further, const Patch& p, int64_t F, const float* b, bool relu, float* y, int64_t pixel) const {
    for (int64_t t = p.t; t < p.t + p.count; ++t, sums += Fp)
      for (int64_t f = 0; f < Fp; f += L) {
        const vec s1 = load(sums + further + f), s2 = load(sums + 2 * further + f), bias = b ? load(b + f) : vec{};
        const vec first = load(sums + f) + s1 + s2 + bias, second = s1 - s2 - load(sums + 3 * further + f) + bias;
        store(y + 2 * t * pixel + f, relu ? relu_of(first) : first, F - f);
        if (2 * t + 1 < Q) store(y + (2 * t + 1) * pixel + f, relu ? relu_of(second) : second, F - f);
      }
  }

  // Where the products of one sum lie, row by row of the kernel.
  std::vector<Tap> taps(int64_t sum, const Patch& p) const {
    static constexpr int64_t another[] = {4, 5, 0, 6};
    std::vector<Tap> found;
    for (int64_t i = 0; i < kh; ++i) {
      found.push_back({sum * apart(p) + i * p.count * C, (i * points + sum) * C * Fp});
      if (kw == 5 && sum != 2) found.push_back({another[sum] * apart(p) + i * p.count * C, (i * points + another[sum]) * C * Fp});
    }
    return found;
  }

  // P rows of outputs of one image, row p seeing rows p - top ... of x: ready(p, sums, further, patch) is called for each of them, the last of
  // its patches at the end. Short rows are taken together, so that their pixels fill the registers.
  template <class F>
  void run(const Plane& x, int64_t top, int64_t left, int64_t P, Floats& room, Floats& sums, F ready) const {
    const int64_t high = band(P), wide = across(1536), together = kh == 1 ? 1 : std::max<int64_t>(1, 12 / tiles);
    const Line line = {C, Fp, C, Fp, Fp, 1, weights.data(), nullptr, false};
    make(sums, 4 * (falls() ? high : together) * wide * Fp);
    auto seen = [&](int64_t p) { return std::make_pair(std::max<int64_t>(0, top - p), std::min(kh, x.H + top - p)); };
    for (int64_t p0 = 0; p0 < P; p0 += high)
      for (int64_t t = 0; t < tiles; t += wide) {
        const int64_t p1 = std::min(P, p0 + high);
        const Patch patch = {p1 - p0 + kh - 1, t, std::min(wide, tiles - t)};
        make(room, points * apart(patch));
        inputs(x, left, p0 - top, patch, room.data());
        if (falls()) {
          const Fall rows = {patch.count * C, points * C * Fp, patch.count * Fp, std::max<int64_t>(0, top - p0), x.H + top - p0};
          const int64_t further = (p1 - p0) * patch.count * Fp;
          for (int64_t k = 0; k < 4; ++k)
            fall_all(line, rows, &weights[k * C * Fp], room.data() + k * apart(patch), sums.data() + k * further, p1 - p0, patch.count);
          for (int64_t p = p0; p < p1; ++p) ready(p, sums.data() + (p - p0) * patch.count * Fp, further, patch);
          continue;
        }
        const std::vector<Tap> known[] = {taps(0, patch), taps(1, patch), taps(2, patch), taps(3, patch)};
        for (int64_t p = p0, count; p < p1; p += count) {
          const auto i = seen(p);
          for (count = 1; count < together && p + count < p1 && seen(p + count) == i;) ++count;
          const int64_t further = count * patch.count * Fp;
          for (int64_t k = 0; k < 4; ++k) {
            const int64_t each = (int64_t)known[k].size() / kh;
            row_of(line, known[k].data() + i.first * each, known[k].data() + std::max(i.first, i.second) * each,
                   room.data() + (p - p0) * patch.count * C, sums.data() + k * further, count * patch.count);
          }
          for (int64_t m = 0; m < count; ++m) ready(p + m, sums.data() + m * patch.count * Fp, further, patch);
        }
      }
  }

  // dL/dK's sums (kh, points, C, Fp) += the share of one image, whose errors delta (P, Q, F) have rows `row` apart; what is
  // read behind the F is never seen.
  void weigh(const Plane& x, int64_t top, int64_t left, int64_t P, const float* delta, int64_t row, int64_t F, Floats& room,
             Floats& slopes, float* sums) const {
    static constexpr int64_t whose[] = {0, 1, 2, 3, 0, 1, 3};
    const int64_t high = band(P), wide = across(6000), some = std::max<int64_t>(1, 6000 / (Fp * wide)), most = std::max<int64_t>(16, 6000 / Fp);
    for (int64_t p0 = 0; p0 < P; p0 += high)
      for (int64_t t = 0; t < tiles; t += wide) {
        const int64_t p1 = std::min(P, p0 + high);
        const Patch patch = {p1 - p0 + kh - 1, t, std::min(wide, tiles - t)}, own = {p1 - p0, t, patch.count};
        make(room, points * apart(patch)), make(slopes, 4 * own.rows * own.count * Fp);
        inputs(x, left, p0 - top, patch, room.data());
        errors(delta + p0 * row, row, F, own, slopes.data());
        // The rows of x, seen from the first, of which all three neighbours among the errors are there.
        const int64_t from = std::max<int64_t>(2, top - p0), to = std::max(from, std::min(own.rows, x.H + top - p0));
        const bool falling = kh == 3 && Fp == L;
        for (int64_t u = from; falling && u < to; u += some)
          for (int64_t k = 0; k < points; ++k) {
            const Sum sum = {own.count * C, C, std::min(some, to - u), own.count, own.count * Fp, Fp, Fp, -own.count * Fp, points * C * Fp};
            weigh_all<3>(sum, room.data() + k * apart(patch) + u * own.count * C, slopes.data() + (whose[k] * own.rows + u) * own.count * Fp,
                         sums + k * C * Fp, C);
          }
        auto add = [&](int64_t k, int64_t i, int64_t first, int64_t end, int64_t q) {      // row i of the kernel, some rows of outputs
          if (first >= end) return;
          const Sum sum = {own.count * C, C, end - first, std::min(most, own.count - q), own.count * Fp, Fp, Fp};
          const float* u = room.data() + k * apart(patch) + ((first - p0 + i) * own.count + q) * C;
          const float* d = slopes.data() + ((whose[k] * own.rows + first - p0) * own.count + q) * Fp;
          weigh_filters(sum, u, d, sums + (i * points + k) * C * Fp, C);
        };
        for (int64_t p = p0; p < p1; p += some)
          for (int64_t q = 0; q < own.count; q += most)
            for (int64_t k = 0; k < points; ++k)
              for (int64_t i = 0; i < kh; ++i) {
                const int64_t first = std::max(p, top - i), end = std::min({p + some, p1, x.H + top - i});
                if (!falling) { add(k, i, first, end, q); continue; }
                add(k, i, first, std::min(end, p0 + from - i), q);
                add(k, i, std::max(first, p0 + to - i), end, q);
              }
      }
  }
};
