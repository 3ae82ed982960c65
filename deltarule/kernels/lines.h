// The two products in registers that every convolution is made of: rows of outputs, and the gradient of the kernel.
#pragma once
#include "vectors.h"

struct Shape {      // of one convolution: x (n, H, W, C), K (kh, kw, C, F), y (n, P, Q, F); ph x pw windows pooled afterwards (1 x 1: none)
  int64_t n, H, W, C, kh, kw, F, P, Q, top, left, sh, sw, dh, dw, ph, pw;
  int64_t taps() const { return kh * kw; }
  bool pooled() const { return ph * pw > 1; }
};

static Shape shape_of(const Numbers& g) {
  return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15], g[16]};
}

static int64_t below(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }      // a / b, rounded down

struct Tap { int64_t x, K; };       // one place of the kernel: where its values of x begin, seen from a pixel, and where its weights begin

// How a row of outputs is worked out: `step` from a pixel's values of x to the next pixel's, `out` from output to output; C values in
// each tap; F filters, of which Fp, a multiple of L, have weights; so many taps (`joined`) always lie one step after the other.
struct Line {
  int64_t step, out, C, F, Fp, joined;
  const float *K, *b;
  bool relu;
};

// P pixels for the V vectors of filters from number f on; CHANNELS and STEP, if not 0: so many, and so far from pixel to pixel. Many pixels
// with steps that are not known beforehand need more addresses than there are registers.
template <int P, int V, int CHANNELS, int STEP>
static void block(const Line& t, const Tap* tap, const Tap* end, const float* x, float* y, int64_t f) {
  const int64_t C = CHANNELS ? CHANNELS : t.C, step = STEP ? STEP : t.step;
  if (tap == end || C == 0) {       // said apart, the sums need not lie in memory for it
    for (int p = 0; p < P; ++p)
      for (int v = 0; v < V; ++v) {
        const vec bias = t.b ? load(t.b + f + v * L) : vec{};
        store(y + p * t.out + f + v * L, t.relu ? relu_of(bias) : bias, t.F - f - v * L);
      }
    return;
  }
  vec acc[P][V];
  for (int v = 0; v < V; ++v) {
    const vec bias = t.b ? load(t.b + f + v * L) : vec{};
    for (int p = 0; p < P; ++p) acc[p][v] = bias;
  }
  do {
    const float *at = x + tap->x, *w = t.K + tap->K + f;
    int64_t c = 0;
    do {
      vec weights[V];
      for (int v = 0; v < V; ++v) weights[v] = load(w + v * L);
#pragma GCC unroll 24
      for (int p = 0; p < P; ++p) {
        const float value = at[p * step + c];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[p][v] += value * weights[v];
      }
      w += t.Fp;
    } while (++c < C);
  } while (++tap != end);
  for (int p = 0; p < P; ++p)
    for (int v = 0; v < V; ++v) store(y + p * t.out + f + v * L, t.relu ? relu_of(acc[p][v]) : acc[p][v], t.F - f - v * L);
}

typedef void Block(const Line&, const Tap*, const Tap*, const float*, float*, int64_t);
template <int V, int CHANNELS, int STEP, int... P>
static Block* block_of(int64_t pixels, std::integer_sequence<int, P...>) {
  static constexpr Block* known[] = {block<P + 1, V, CHANNELS, STEP>...};
  return known[pixels - 1];
}

// The same for one vector of filters, KW neighbouring columns of the kernel at once: a value of x is fetched once for all of them.
template <int P, int KW>
static void slide(const Line& t, const Tap* tap, const Tap* end, const float* x, float* y, int64_t f) {
  vec acc[P];
  for (int p = 0; p < P; ++p) acc[p] = t.b ? load(t.b + f) : vec{};
  for (; tap != end; tap += KW) {
    const float* at = x + tap->x;
    for (int64_t c = 0; c < t.C; ++c) {
      vec weights[KW];
      for (int j = 0; j < KW; ++j) weights[j] = load(t.K + tap[j].K + c * t.Fp + f);
#pragma GCC unroll 24
      for (int u = 0; u < P + KW - 1; ++u) {
        const vec value = vec{} + at[u * t.step + c];
#pragma GCC unroll 5
        for (int j = 0; j < KW; ++j)
          if (u >= j && u - j < P) acc[u - j] += value * weights[j];
      }
    }
  }
  for (int p = 0; p < P; ++p) store(y + p * t.out + f, t.relu ? relu_of(acc[p]) : acc[p], t.F - f);
}

template <int KW, int... P>
static Block* slide_of(int64_t pixels, std::integer_sequence<int, P...>) {
  static constexpr Block* known[] = {slide<P + 1, KW>...};
  return known[pixels - 1];
}

// A row of Q things in blocks of nearly the same length, at most `most`: a short one at the end would wait for its own sums.
template <class F>
static void evenly(int64_t Q, int64_t most, F f) {
  const int64_t blocks = (Q + most - 1) / most;
  for (int64_t k = 0, q = 0, count; k < blocks; ++k, q += count) f(q, count = (Q - q) / (blocks - k));
}

constexpr int SLIDING = REGISTERS / 3 * 2;      // pixels in a block: some registers hold the weights

// All Q pixels of a row.
template <int V>
static void pixels(const Line& t, const Tap* tap, const Tap* end, const float* x, float* y, int64_t Q, int64_t f) {
  const std::make_integer_sequence<int, REGISTERS / V> sizes;
  const std::make_integer_sequence<int, SLIDING> shorter;
  const bool slides = V == 1 && t.C >= 3 && (t.joined == 3 || t.joined == 5);
  const int64_t channels = t.step == t.C ? t.C : 0;
  evenly(Q, slides ? SLIDING : REGISTERS / V, [&](int64_t q, int64_t count) {
    Block* does = slides ? (t.joined == 3 ? slide_of<3>(count, shorter) : slide_of<5>(count, shorter))
                         : channels == 1 ? block_of<V, 1, 1>(count, sizes)
                         : V == 1 && t.C == 1 && t.step == 2 ? block_of<V, V == 1, V == 1 ? 2 : 0>(count, sizes)
                         : V < 4 && channels == 16 ? block_of<V, V < 4 ? 16 : 0, V < 4 ? 16 : 0>(count, sizes)
                         : V < 4 && channels == 32 ? block_of<V, V < 4 ? 32 : 0, V < 4 ? 32 : 0>(count, sizes)
                         : block_of<V, 0, 0>(count, sizes);
    does(t, tap, end, x + q * t.step, y + q * t.out, f);
  });
}

static void row_of(const Line& t, const Tap* tap, const Tap* end, const float* x, float* y, int64_t Q) {
  for (int64_t f = 0; f < t.Fp;) {
    const int64_t vectors = (t.Fp - f) / L;
    if (vectors >= 4) { pixels<4>(t, tap, end, x, y, Q, f); f += 4 * L; }
    else if (vectors >= 2) { pixels<2>(t, tap, end, x, y, Q, f); f += 2 * L; }
    else { pixels<1>(t, tap, end, x, y, Q, f); f += L; }
  }
}

// Three rows of the kernel at once, for one vector of filters: row u of x belongs to the outputs u, u - 1, u - 2, so that a value of x is
// fetched once for three products. T pixels wide; rows of x lie `down` apart, of the kernel `K_row`, of outputs `out_row`; rows of x
// outside `from` to `to` - 1 are zero.
struct Fall { int64_t down, K_row, out_row, from, to; };

template <int T, int CHANNELS>
static void fall(const Line& t, const Fall& rows, const float* K, const float* x, float* y, int64_t P) {
  const int64_t C = CHANNELS ? CHANNELS : t.C;
  vec acc[3][T] = {};
  for (int64_t u = 0; u < P + 2; ++u, x += rows.down) {
    const float* w = K;
    for (int64_t c = 0; c < C && u >= rows.from && u < rows.to; ++c, w += t.Fp) {
      const vec w0 = load(w), w1 = load(w + rows.K_row), w2 = load(w + 2 * rows.K_row);
#pragma GCC unroll 8
      for (int p = 0; p < T; ++p) {
        const vec value = vec{} + x[p * C + c];
        acc[0][p] += value * w0, acc[1][p] += value * w1, acc[2][p] += value * w2;
      }
    }
    for (int p = 0; p < T; ++p) {
      if (u >= 2) store(y + (u - 2) * rows.out_row + p * t.out, acc[2][p]);
      acc[2][p] = acc[1][p], acc[1][p] = acc[0][p], acc[0][p] = vec{};
    }
  }
}

typedef void Falling(const Line&, const Fall&, const float*, const float*, float*, int64_t);
template <int CHANNELS, int... T>
static Falling* fall_of(int64_t pixels, std::integer_sequence<int, T...>) {
  static constexpr Falling* known[] = {fall<T + 1, CHANNELS>...};
  return known[pixels - 1];
}

// P rows of Q pixels.
static void fall_all(const Line& t, const Fall& rows, const float* K, const float* x, float* y, int64_t P, int64_t Q) {
  const std::make_integer_sequence<int, REGISTERS / 3> sizes;
  evenly(Q, REGISTERS / 3, [&](int64_t q, int64_t count) {
    (t.C == 16 ? fall_of<16>(count, sizes) : fall_of<0>(count, sizes))(t, rows, K, x + q * t.C, y + q * t.out, P);
  });
}

// How the gradient of the kernel is summed: over `rows` rows of Q pixels, x rows `down` and pixels `step` apart, delta rows `row` and pixels
// `pixel`; Fp sums for each value of x. Three vectors are not neighbours but rows of the kernel: `next` apart in delta, and `kept` in the sums.
struct Sum {
  int64_t down, step, rows, Q, row, pixel, Fp, next = L, kept = L;
};

// dK[b, f] += sum over pixels of x[b] delta[f] for B values of x and V vectors of filters.
template <int B, int V>
static void weigh(const Sum& t, const float* x, const float* delta, float* dK) {
  const int64_t next = V == 3 ? t.next : L, kept = V == 3 ? t.kept : L;
  vec acc[B][V] = {};
  for (int64_t p = 0; p < t.rows; ++p) {
    const float *at = x + p * t.down, *d = delta + p * t.row;
    for (int64_t q = 0; q < t.Q; ++q, at += t.step, d += t.pixel) {
      vec slope[V];
      for (int v = 0; v < V; ++v) slope[v] = load(d + v * next);
#pragma GCC unroll 24
      for (int b = 0; b < B; ++b)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[b][v] += at[b] * slope[v];
    }
  }
  for (int b = 0; b < B; ++b)
    for (int v = 0; v < V; ++v) store(dK + b * t.Fp + v * kept, load(dK + b * t.Fp + v * kept) + acc[b][v]);
}

typedef void Weigh(const Sum&, const float*, const float*, float*);
template <int V, int... B>
static Weigh* weigh_of(int64_t values, std::integer_sequence<int, B...>) {
  static constexpr Weigh* known[] = {weigh<B + 1, V>...};
  return known[values - 1];
}

template <int V>
static void weigh_all(const Sum& t, const float* x, const float* delta, float* dK, int64_t values) {
  constexpr int MOST = REGISTERS / V;
  evenly(values, MOST, [&](int64_t b, int64_t count) {
    weigh_of<V>(count, std::make_integer_sequence<int, MOST>())(t, x + b, delta, dK + b * t.Fp);
  });
}

// For all filters.
static void weigh_filters(const Sum& t, const float* x, const float* delta, float* dK, int64_t values) {
  for (int64_t f = 0; f < t.Fp;) {
    const int64_t vectors = (t.Fp - f) / L;
    if (vectors >= 4) { weigh_all<4>(t, x, delta + f, dK + f, values); f += 4 * L; }
    else if (vectors >= 2) { weigh_all<2>(t, x, delta + f, dK + f, values); f += 2 * L; }
    else { weigh_all<1>(t, x, delta + f, dK + f, values); f += L; }
  }
}
