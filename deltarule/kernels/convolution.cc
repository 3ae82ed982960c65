// Convolution of channels-last images, forward and backward, float32, two dimensions (lecture row 28).
//
//   y[p, q, f]    = b[f] + sum_ijc x[p s + i d - top, q s + j d - left, c] K[i, j, c, f]
//   dK[i, j, c, f] = sum_pq x[p s + i d - top, q s + j d - left, c] dy[p, q, f]
//   dx             = the convolution of dy, its pixels a stride apart, with K turned round and its channels exchanged
//
// All three are the same product in registers: P values of x, each times V vectors of L numbers, summed in P * V accumulators.
// No matrix of patches is built: an image is copied into a frame of zeros that stays in the second-level cache.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>
#include <thread>
#include "xla/ffi/api/ffi.h"
namespace ffi = xla::ffi;

#if defined(__AVX512F__)
constexpr int L = 16, MOST = 6;     // floats in a vector; values of x in a block: 6 x 4 accumulators, 4 vectors, 1 value, of 32 registers
#elif defined(__AVX2__)
constexpr int L = 8, MOST = 3;      // 3 x 4 accumulators and 4 vectors fill 16 registers
#else
constexpr int L = 4, MOST = 6;
#endif
constexpr int WIDE = 4;             // vectors in a block; with one or two of them a block is twice as long
typedef float vec __attribute__((vector_size(L * sizeof(float)), aligned(4)));

struct Shape {      // of one convolution: x (n, H, W, C), K (kh, kw, C, F), y (n, P, Q, F)
  int64_t n, H, W, C, kh, kw, F, P, Q, top, left, sh, sw, dh, dw;
};

// How a row of outputs is worked out: `step` from one pixel to the next, `row` and `tap` from one value of a window to the next below and
// to the right; K with Fp filters, a multiple of L.
struct Line {
  int64_t step, row, tap, kh, kw, C, F, Fp;
  const float *K, *b;
  bool relu;
};

// y[q ... q + P - 1] for the V vectors of filters from number f on.
template <int P, int V>
static inline void block(const Line& t, const float* x, float* y, int64_t f) {
  vec acc[P][V];
  for (int p = 0; p < P; ++p)
    for (int v = 0; v < V; ++v) acc[p][v] = *(const vec*)(t.b + f + v * L);
  for (int64_t i = 0; i < t.kh; ++i)
    for (int64_t j = 0; j < t.kw; ++j) {
      const float* at = x + i * t.row + j * t.tap;
      const float* w = t.K + (i * t.kw + j) * t.C * t.Fp + f;
      for (int64_t c = 0; c < t.C; ++c, w += t.Fp) {
        vec weights[V];
        for (int v = 0; v < V; ++v) weights[v] = *(const vec*)(w + v * L);
#pragma GCC unroll 12
        for (int p = 0; p < P; ++p) {
          const float value = at[p * t.step + c];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[p][v] += value * weights[v];
        }
      }
    }
  for (int p = 0; p < P; ++p)
    for (int v = 0; v < V; ++v) {
      vec value = acc[p][v];
      if (t.relu) value = value > 0 ? value : vec{};
      float* to = y + p * t.F + f + v * L;
      const int64_t count = std::min<int64_t>(L, t.F - f - v * L);
      if (count == L) *(vec*)to = value;
      else std::memcpy(to, &value, count * sizeof(float));
    }
}

// All Q pixels of a row, in blocks as long as the registers allow and a shorter one for the rest.
template <int V>
static void pixels(const Line& t, const float* x, float* y, int64_t Q, int64_t f) {
  int64_t q = 0;
  if (V <= 2)
    for (; q + 2 * MOST <= Q; q += 2 * MOST) block<2 * MOST, V>(t, x + q * t.step, y + q * t.F, f);
  for (; q + MOST <= Q; q += MOST) block<MOST, V>(t, x + q * t.step, y + q * t.F, f);
  x += q * t.step, y += q * t.F;
  switch (Q - q) {
    case 1: block<1, V>(t, x, y, f); break;
    case 2: block<2, V>(t, x, y, f); break;
    case 3: block<3, V>(t, x, y, f); break;
    case 4: block<4, V>(t, x, y, f); break;
    case 5: block<5, V>(t, x, y, f); break;
  }
}

// One image: x points to the first value of the first window, `down` leads from one row of windows to the next.
static void image(const Line& t, const float* x, int64_t down, float* y, int64_t P, int64_t Q) {
  for (int64_t p = 0; p < P; ++p, x += down, y += Q * t.F)
    for (int64_t f = 0; f < t.Fp; f += WIDE * L) switch (std::min<int64_t>(WIDE, (t.Fp - f) / L)) {
      case 1: pixels<1>(t, x, y, Q, f); break;
      case 2: pixels<2>(t, x, y, Q, f); break;
      case 3: pixels<3>(t, x, y, Q, f); break;
      default: pixels<4>(t, x, y, Q, f);
    }
}

// x where the unit was on (h > 0), zero elsewhere; without h all of it.
static void gated(const float* x, const float* h, int64_t count, float* __restrict to) {
  if (!h) { std::memcpy(to, x, count * sizeof(float)); return; }
  for (int64_t k = 0; k < count; ++k) to[k] = h[k] > 0 ? x[k] : 0.f;
}

struct Frame {      // zeros around an image (H, W, C), whose rows and columns are set `down` and `across` apart
  int64_t H, W, C, top, left, down, across, height, width;
};

// The image in its frame (height, width, C); rows and columns that fall outside are left out.
static void framed(const Frame& t, const float* x, const float* h, float* to) {
  for (int64_t r = 0; r < t.height; ++r, to += t.width * t.C) {
    const int64_t i = r - t.top;
    std::memset(to, 0, t.width * t.C * sizeof(float));
    if (i < 0 || i % t.down || i / t.down >= t.H) continue;
    const int64_t from = i / t.down * t.W * t.C;
    if (t.across == 1) {
      const int64_t skip = std::max<int64_t>(0, -t.left), begin = std::max<int64_t>(0, t.left);
      const int64_t count = std::max<int64_t>(0, std::min(t.W - skip, t.width - begin)) * t.C;
      gated(x + from + skip * t.C, h ? h + from + skip * t.C : nullptr, count, to + begin * t.C);
    } else {
      for (int64_t j = 0; j < t.W; ++j) {
        const int64_t at = t.left + j * t.across, value = from + j * t.C;
        if (at >= 0 && at < t.width) gated(x + value, h ? h + value : nullptr, t.C, to + at * t.C);
      }
    }
  }
}

// How the gradient of the kernel is summed over `rows` rows of Q pixels: x (rows `down` apart, pixels `step`), dy (rows, Q, Fp).
struct Sum {
  int64_t down, step, rows, Q, Fp;
};

// dK[b, f] += sum over pixels of x[b] dy[f] for B values of x and V vectors of filters.
template <int B, int V>
static inline void weigh(const Sum& t, const float* x, const float* dy, float* dK) {
  vec acc[B][V] = {};
  for (int64_t p = 0; p < t.rows; ++p) {
    const float *at = x + p * t.down, *d = dy + p * t.Q * t.Fp;
    for (int64_t q = 0; q < t.Q; ++q, at += t.step, d += t.Fp) {
      vec slope[V];
      for (int v = 0; v < V; ++v) slope[v] = *(const vec*)(d + v * L);
#pragma GCC unroll 12
      for (int b = 0; b < B; ++b)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[b][v] += at[b] * slope[v];
    }
  }
  for (int b = 0; b < B; ++b)
    for (int v = 0; v < V; ++v) *(vec*)(dK + b * t.Fp + v * L) += acc[b][v];
}

template <int V>
static void weigh_all(const Sum& t, const float* x, const float* dy, float* dK, int64_t values) {
  int64_t b = 0;
  if (V <= 2)
    for (; b + 2 * MOST <= values; b += 2 * MOST) weigh<2 * MOST, V>(t, x + b, dy, dK + b * t.Fp);
  for (; b + MOST <= values; b += MOST) weigh<MOST, V>(t, x + b, dy, dK + b * t.Fp);
  x += b, dK += b * t.Fp;
  switch (values - b) {
    case 1: weigh<1, V>(t, x, dy, dK); break;
    case 2: weigh<2, V>(t, x, dy, dK); break;
    case 3: weigh<3, V>(t, x, dy, dK); break;
    case 4: weigh<4, V>(t, x, dy, dK); break;
    case 5: weigh<5, V>(t, x, dy, dK); break;
  }
}

// dK (kh, kw, C, Fp) += the share of one image: x in its frame of that width, dy (P, Q, Fp). A few rows at a time stay in the first-level
// cache; with neighbouring columns (dw = 1) the values of a row of the window lie side by side and count as one.
static void weigh_image(const Shape& s, const float* x, int64_t width, const float* dy, int64_t Fp, float* dK) {
  const int64_t rows = std::max<int64_t>(1, 6000 / (s.Q * Fp)), joined = s.dw == 1 ? s.kw : 1;
  for (int64_t p = 0; p < s.P; p += rows) {
    const Sum t = {s.sh * width * s.C, s.sw * s.C, std::min(rows, s.P - p), s.Q, Fp};
    for (int64_t i = 0; i < s.kh; ++i)
      for (int64_t j = 0; j < s.kw; j += joined) {
        const float* at = x + ((p * s.sh + i * s.dh) * width + j * s.dw) * s.C;
        float* to = dK + (i * s.kw + j) * s.C * Fp;
        const float* d = dy + p * s.Q * Fp;
        for (int64_t f = 0; f < Fp; f += WIDE * L) switch (std::min<int64_t>(WIDE, (Fp - f) / L)) {
          case 1: weigh_all<1>(t, at, d + f, to + f, joined * s.C); break;
          case 2: weigh_all<2>(t, at, d + f, to + f, joined * s.C); break;
          case 3: weigh_all<3>(t, at, d + f, to + f, joined * s.C); break;
          default: weigh_all<4>(t, at, d + f, to + f, joined * s.C);
        }
      }
  }
}

// Work shared by XLA's threads and the calling one: numbers are drawn until none is left, so nobody waits for a thread that never came.
template <class F>
static void in_parallel(ffi::ThreadPool& pool, int64_t tasks, F work) {
  struct State { std::atomic<int64_t> next{0}, done{0}; };
  auto state = std::make_shared<State>();
  auto run = [state, tasks, work]() mutable {
    for (int64_t t; (t = state->next.fetch_add(1)) < tasks;) { work(t); state->done.fetch_add(1); }
  };
  const int64_t helpers = std::min<int64_t>(tasks, pool.num_threads()) - 1;
  for (int64_t k = 0; k < helpers; ++k) pool.Schedule(decltype(run)(run));
  run();
  while (state->done.load() < tasks) std::this_thread::yield();
}

static int64_t full(int64_t n) { return (n + L - 1) / L * L; }      // n numbers in whole vectors

typedef ffi::Buffer<ffi::F32> In;
typedef ffi::ResultBuffer<ffi::F32> Out;
typedef ffi::Span<const int64_t> Numbers;

static Shape shape_of(const Numbers& g) {
  return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13], g[14]};
}

static Frame frame_of(const Shape& s) {     // all that the windows reach
  return {s.H, s.W, s.C, s.top, s.left, 1, 1, (s.P - 1) * s.sh + (s.kh - 1) * s.dh + 1, (s.Q - 1) * s.sw + (s.kw - 1) * s.dw + 1};
}

static ffi::Error forward(ffi::ThreadPool pool, In x, In K, In b, Out y, Numbers geometry, bool relu) {
  const Shape s = shape_of(geometry);
  const Frame around = frame_of(s);
  const int64_t Fp = full(s.F);
  const bool inside = s.top == 0 && s.left == 0 && around.height <= s.H && around.width <= s.W;
  std::vector<float> weights(s.kh * s.kw * s.C * Fp, 0.f), bias(Fp, 0.f);
  for (int64_t k = 0; k < s.kh * s.kw * s.C; ++k) std::memcpy(&weights[k * Fp], K.typed_data() + k * s.F, s.F * sizeof(float));
  std::memcpy(bias.data(), b.typed_data(), s.F * sizeof(float));
  const int64_t row = (inside ? s.W : around.width) * s.C;
  const Line t = {s.sw * s.C, s.dh * row, s.dw * s.C, s.kh, s.kw, s.C, s.F, Fp, weights.data(), bias.data(), relu};
  in_parallel(pool, s.n, [&](int64_t m) {
    const float* from = x.typed_data() + m * s.H * s.W * s.C;
    thread_local std::vector<float> frame;
    if (!inside) {
      frame.resize(around.height * row);
      framed(around, from, nullptr, frame.data());
    }
    image(t, inside ? from : frame.data(), s.sh * row, y->typed_data() + m * s.P * s.Q * s.F, s.P, s.Q);
  });
  return ffi::Error::Success();
}

// What is not wanted is not touched: x serves dK alone, K serves dx alone, h serves ReLU alone, and may be empty otherwise.
static ffi::Error backward(ffi::ThreadPool pool, In x, In K, In h, In dh, Out dx, Out dK, Out db, Numbers geometry,
                           bool relu, bool wants_dx, bool wants_dK) {
  const Shape s = shape_of(geometry);
  const int64_t Fp = full(s.F), Cp = full(s.C), taps = s.kh * s.kw, outputs = s.P * s.Q;
  const Frame around = frame_of(s), spread = {s.P, s.Q, s.F, (s.kh - 1) * s.dh - s.top, (s.kw - 1) * s.dw - s.left, s.sh, s.sw,
                                              s.H + (s.kh - 1) * s.dh, s.W + (s.kw - 1) * s.dw};
  std::vector<float> turned(wants_dx ? taps * s.F * Cp : 0, 0.f), zeros(Cp, 0.f);
  for (int64_t k = 0; wants_dx && k < taps; ++k)
    for (int64_t c = 0; c < s.C; ++c)
      for (int64_t f = 0; f < s.F; ++f) turned[((taps - 1 - k) * s.F + f) * Cp + c] = K.typed_data()[(k * s.C + c) * s.F + f];
  const int64_t row = spread.width * s.F;
  const Line t = {s.F, s.dh * row, s.dw * s.F, s.kh, s.kw, s.F, s.C, Cp, turned.data(), zeros.data(), false};
  const int64_t parts = std::min<int64_t>(s.n, pool.num_threads() * 2), size = (taps * s.C + 1) * Fp;     // dK and, after it, db
  std::vector<float> sums(parts * size, 0.f);
  in_parallel(pool, parts, [&](int64_t part) {
    std::vector<float> frame(around.height * around.width * s.C), delta(outputs * Fp, 0.f), apart(wants_dx ? spread.height * row : 0);
    float* mine = &sums[part * size];
    for (int64_t m = part * s.n / parts; m < (part + 1) * s.n / parts; ++m) {
      const float *d = dh.typed_data() + m * outputs * s.F, *on = relu ? h.typed_data() + m * outputs * s.F : nullptr;
      if (wants_dK) {
        float* __restrict bias = mine + taps * s.C * Fp;
        for (int64_t k = 0; k < outputs; ++k) {
          float* here = &delta[k * Fp];
          gated(d + k * s.F, on ? on + k * s.F : nullptr, s.F, here);
          for (int64_t f = 0; f < Fp; ++f) bias[f] += here[f];
        }
        framed(around, x.typed_data() + m * s.H * s.W * s.C, nullptr, frame.data());
        weigh_image(s, frame.data(), around.width, delta.data(), Fp, mine);
      }
      if (wants_dx) {
        framed(spread, d, on, apart.data());
        image(t, apart.data(), row, dx->typed_data() + m * s.H * s.W * s.C, s.H, s.W);
      }
    }
  });
  if (!wants_dK) return ffi::Error::Success();
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t k = 0; k < size; ++k) sums[k] += sums[part * size + k];
  for (int64_t k = 0; k < taps * s.C; ++k) std::memcpy(dK->typed_data() + k * s.F, &sums[k * Fp], s.F * sizeof(float));
  std::memcpy(db->typed_data(), &sums[taps * s.C * Fp], s.F * sizeof(float));
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(conv_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Ret<ffi::Buffer<ffi::F32>>()
    .Attr<Numbers>("geometry").Attr<bool>("relu"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(conv_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>()
    .Attr<Numbers>("geometry").Attr<bool>("relu").Attr<bool>("wants_dx").Attr<bool>("wants_dK"));
