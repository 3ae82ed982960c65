// Recurrent networks over whole sequences, forward and backward, float32 (lecture rows 37 and 38).
//
//   a_t = x_t U + b + h_(t-1) W + d,   h_t = g(a_t), or by the gates of an LSTM or GRU
//
// The states of one sequence never meet those of another: each thread takes some of the sequences through all their steps. A step is one
// product of [h_(t-1), x_t] with the weights, whose sums stay in registers until the gates have been worked out of them. The weights of the
// gates i, f, o (r, z) come halved: sigmoid(a) = (1 + tanh(a / 2)) / 2.
#include "functions.h"

constexpr int64_t SMALL = 1 << 17;      // multiply-adds of a call that one thread does as quickly as two

struct Sizes { int64_t n, T, I, u, G; };       // x (n, T, I), h (n, T, u), G gates side by side

// ---------------------------------------------------------------- numbers

enum Kind { TANH, SIGMOID, RELU, LINEAR, LSTM, GRU };

static inline vec g_of(int64_t kind, vec a) {
  switch (kind) {
    case TANH: return tanh_of(a);
    case SIGMOID: return (1.f + tanh_of(a * 0.5f)) * 0.5f;
    case RELU: return relu_of(a);
    default: return a;
  }
}

static inline vec slope_of(int64_t kind, vec h) {       // g'(a), from h = g(a)
  switch (kind) {
    case TANH: return 1.f - h * h;
    case SIGMOID: return h * (1.f - h);
    case RELU: return h > 0 ? each(1.f) : vec{};
    default: return each(1.f);
  }
}

// --------------------------------------------------------------- products

// acc += A B for R rows of A, K numbers each, and a packed panel B (K, V, L).
template <int R, int V>
static inline void multiply(vec (&acc)[R][V], const float* A, int64_t stride, int64_t K, const float* panel) {
  for (int64_t k = 0; k < K; ++k, panel += V * L) {
    vec B[V];
    for (int v = 0; v < V; ++v) B[v] = load(panel + v * L);
    for (int r = 0; r < R; ++r) {
      const vec a = each(A[r * stride + k]);
      for (int v = 0; v < V; ++v) acc[r][v] += a * B[v];
    }
  }
}

template <int R> struct Count { static constexpr int value = R; };

// tile(first row, number of rows as a Count) for blocks of nearly equal size, none of more than `Most` rows.
template <int Most, class Tile>
static inline void one_block(int64_t row, int64_t rows, Tile& tile) {
  if constexpr (Most > 1) {
    if (rows < Most) return one_block<Most - 1>(row, rows, tile);
  }
  tile(row, Count<Most>());
}

template <int Most, class Tile>
static inline void in_blocks(int64_t rows, Tile tile) {
  const int64_t blocks = (rows + Most - 1) / Most;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t row = i * rows / blocks;
    one_block<Most>(row, (i + 1) * rows / blocks - row, tile);
  }
}

// A matrix cut into panels of V vectors: those of one panel are G gates of V / G vectors of units, so that all of a unit come together.
struct Panels {
  int64_t units, gates, vectors, K, number;
  std::vector<float> packed;
  Panels(int64_t units, int64_t gates, int64_t vectors, int64_t K)
      : units(units), gates(gates), vectors(vectors), K(K), number((units + wide() - 1) / wide()), packed(number * K * vectors * L, 0.f) {}
  int64_t wide() const { return vectors / gates * L; }      // units in a panel
  const float* panel(int64_t i, int64_t k = 0) const { return packed.data() + (i * K + k) * vectors * L; }
  // Rows k ... of panel i from M, whose element (row, column) lies at row * down + column * across.
  void pack(int64_t i, int64_t k, const float* M, int64_t rows, int64_t down, int64_t across) {
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t each = vectors / gates, unit = i * wide() + v % each * L, count = std::min<int64_t>(L, units - unit);
      const float* from = M + (v / each * units + unit) * across;
      float* to = packed.data() + ((i * K + k) * vectors + v) * L;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t c = 0; c < count; ++c) to[row * vectors * L + c] = from[row * down + c * across];
    }
  }
};

// ---------------------------------------------------------------- forward

struct Forward {
  Sizes s;
  int64_t kind;
  bool reverse;
  const float *x, *b, *d, *first_h, *first_c, *kept;
  const uint8_t* mask;
  float *h, *c, *gates;
  const Panels *W;        // of W above U
};

// The new states of L units of one sequence at step t, from the sums of its gates.
template <int V>
static inline void step(const Forward& f, int64_t row, int64_t t, int64_t before, int64_t unit, int64_t count, const vec* q, vec p, float* next) {
  const int64_t u = f.s.u, at = (row * f.s.T + t) * u + unit;
  const float* old_h = before < 0 ? f.first_h + row * u : f.h + (row * f.s.T + before) * u;
  vec h;
  if (f.mask && !f.mask[row * f.s.T + t]) {
    h = load(old_h + unit, count);
    if (f.kind == LSTM) store(f.c + at, load((before < 0 ? f.first_c + row * u : f.c + (row * f.s.T + before) * u) + unit, count), count);
    if (f.kind >= LSTM)
      for (int i = 0; i < 4; ++i) store(f.gates + (row * f.s.T + t) * 4 * u + i * u + unit, vec{}, count);
  } else if (f.kind == LSTM) {
    const vec old_c = load((before < 0 ? f.first_c + row * u : f.c + (row * f.s.T + before) * u) + unit, count);
    vec tanhs[4];
    for (int i = 0; i < 4; ++i) {
      tanhs[i] = tanh_of(q[i % V] + load(f.b + i * u + unit, count));
      store(f.gates + (row * f.s.T + t) * 4 * u + i * u + unit, tanhs[i], count);
    }
    const vec c = (1.f + tanhs[1]) * 0.5f * old_c + (1.f + tanhs[0]) * 0.5f * tanhs[3];
    store(f.c + at, c, count);
    h = (1.f + tanhs[2]) * 0.5f * tanh_of(c);
  } else if (f.kind == GRU) {
    const vec r = tanh_of(q[0] + load(f.b + unit, count) + load(f.d + unit, count));
    const vec z = tanh_of(q[1 % V] + load(f.b + u + unit, count) + load(f.d + u + unit, count));
    const vec q_h = q[2 % V] + load(f.d + 2 * u + unit, count);
    const vec candidate = tanh_of(p + load(f.b + 2 * u + unit, count) + (1.f + r) * 0.5f * q_h);
    const vec kept[4] = {r, z, candidate, q_h};
    for (int i = 0; i < 4; ++i) store(f.gates + (row * f.s.T + t) * 4 * u + i * u + unit, kept[i], count);
    const vec open = (1.f + z) * 0.5f;
    h = open * load(old_h + unit, count) + (1.f - open) * candidate;
  } else {
    h = g_of(f.kind, q[0] + load(f.b + unit, count));
  }
  store(f.h + at, h, count);
  store(next + unit, f.kept ? h * load(f.kept + row * u + unit, count) : h, count);
}

// Sequences m ... end - 1 through all their steps; V vectors of sums at a time.
template <int V>
static void through(const Forward& f, int64_t m, int64_t end) {
  const Sizes s = f.s;
  const int64_t rows = end - m, width = s.u + s.I, each = V / s.G;
  std::vector<float> one(rows * width), other(rows * width);      // [h_(t-1), x_t] of every sequence
  float *now = one.data(), *next = other.data();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < s.u; ++i) now[r * width + i] = f.first_h[(m + r) * s.u + i] * (f.kept ? f.kept[(m + r) * s.u + i] : 1.f);
  for (int64_t step_number = 0, before = -1; step_number < s.T; ++step_number) {
    const int64_t t = f.reverse ? s.T - 1 - step_number : step_number;
    for (int64_t r = 0; r < rows; ++r) std::memcpy(now + r * width + s.u, f.x + ((m + r) * s.T + t) * s.I, s.I * sizeof(float));
    for (int64_t i = 0; i < f.W->number; ++i)
      in_blocks<REGISTERS / V>(rows, [&](int64_t row, auto number) {
        constexpr int R = decltype(number)::value;
        vec acc[R][V] = {}, apart[R] = {};
        const float* A = now + row * width;
        multiply(acc, A, width, s.u, f.W->panel(i));
        if (V == 3)
          for (int r = 0; r < R; ++r) apart[r] = acc[r][V - 1], acc[r][V - 1] = vec{};
        multiply(acc, A + s.u, width, s.I, f.W->panel(i, s.u));
        if (V == 3)
          for (int r = 0; r < R; ++r) std::swap(apart[r], acc[r][V - 1]);
        for (int r = 0; r < R; ++r)
          for (int64_t v = 0; v < each; ++v) {
            const int64_t unit = i * f.W->wide() + v * L;
            if (unit < s.u) step<V>(f, m + row + r, t, before, unit, std::min<int64_t>(L, s.u - unit), acc[r] + v, apart[r], next + (row + r) * width);
          }
      });
    std::swap(now, next);
    before = t;
  }
}

static int64_t parts_of(const ffi::ThreadPool& pool, const Sizes& s) {
  return s.n * s.T * s.u * s.G * (s.u + s.I) < SMALL ? 1 : std::clamp<int64_t>(pool.num_threads(), 1, std::max<int64_t>(1, s.n));
}

static const float* given(const In& values) { return values.element_count() > 0 ? values.typed_data() : nullptr; }

static ffi::Error forward(ffi::ThreadPool pool, In x, In U, In b, In W, In d, In h0, In c0, In kept, InBytes mask, Out h, Out c, Out gates,
                          int64_t kind, bool reverse) {
  const auto shape = x.dimensions();
  const int64_t u = W.dimensions()[0], G = kind == LSTM ? 4 : kind == GRU ? 3 : 1, V = kind == GRU ? 3 : 4;
  const Sizes s{shape[0], shape[1], shape[2], u, G};
  Panels panels(u, G, V, u + s.I);
  in_parallel(pool, panels.number, [&](int64_t i) {
    panels.pack(i, 0, W.typed_data(), u, G * u, 1);
    panels.pack(i, u, U.typed_data(), s.I, G * u, 1);
  });
  const Forward f{s, kind, reverse, x.typed_data(), b.typed_data(), given(d), h0.typed_data(), given(c0), given(kept),
                  mask.element_count() > 0 ? mask.typed_data() : nullptr, h->typed_data(), c->typed_data(), gates->typed_data(), &panels};
  in_parts(pool, s.n, parts_of(pool, s), [&](int64_t, int64_t m, int64_t end) { V == 3 ? through<3>(f, m, end) : through<4>(f, m, end); });
  return ffi::Error::Success();
}

// --------------------------------------------------------------- backward

struct Backward {
  Sizes s;
  int64_t kind;
  bool reverse;
  const float *first_h, *first_c, *kept;
  const uint8_t* mask;
  const float *h, *c, *gates, *h_errors, *c_errors;
  float *dp, *dq;
  const Panels* W;        // transposed
};

// What goes on from step t of one sequence to the step before, for L units; deltas of the gates into dp, and of the product into D.
static inline void back(const Backward& f, int64_t row, int64_t t, int64_t before, int64_t unit, int64_t count, float* dh, float* dc, float* D,
                        float* db, float* dd) {
  const int64_t u = f.s.u, G = f.s.G, at = (row * f.s.T + t) * u + unit;
  const vec error = load(dh, count) + load(f.h_errors + at, count), zero = {};
  const vec cell_error = f.kind == LSTM ? load(dc, count) + load(f.c_errors + at, count) : zero;
  float* dp = f.dp + (row * f.s.T + t) * G * u + unit;
  vec deltas[4] = {}, direct = {};
  vec of_product = {};        // the delta of a GRU's q_h
  if (f.mask && !f.mask[row * f.s.T + t]) {
    direct = error;
    if (f.kind == LSTM) store(dc, cell_error, count);
  } else if (f.kind == LSTM) {
    const float* kept = f.gates + (row * f.s.T + t) * 4 * u + unit;
    const vec ti = load(kept, count), tf = load(kept + u, count), to = load(kept + 2 * u, count), g = load(kept + 3 * u, count);
    const vec old_c = load((before < 0 ? f.first_c + row * u : f.c + (row * f.s.T + before) * u) + unit, count);
    const vec tanh_c = tanh_of(load(f.c + at, count)), o = (1.f + to) * 0.5f;
    const vec into = cell_error + error * o * (1.f - tanh_c * tanh_c);
    deltas[0] = into * g * 0.5f * (1.f - ti * ti);
    deltas[1] = into * old_c * 0.5f * (1.f - tf * tf);
    deltas[2] = error * tanh_c * 0.5f * (1.f - to * to);
    deltas[3] = into * (1.f + ti) * 0.5f * (1.f - g * g);
    store(dc, into * (1.f + tf) * 0.5f, count);
  } else if (f.kind == GRU) {
    const float* kept = f.gates + (row * f.s.T + t) * 4 * u + unit;
    const vec tr = load(kept, count), tz = load(kept + u, count), candidate = load(kept + 2 * u, count), q_h = load(kept + 3 * u, count);
    const vec old_h = load((before < 0 ? f.first_h + row * u : f.h + (row * f.s.T + before) * u) + unit, count);
    const vec z = (1.f + tz) * 0.5f;
    deltas[2] = error * (1.f - z) * (1.f - candidate * candidate);
    deltas[0] = deltas[2] * q_h * 0.5f * (1.f - tr * tr);
    deltas[1] = error * (old_h - candidate) * 0.5f * (1.f - tz * tz);
    of_product = deltas[2] * (1.f + tr) * 0.5f;
    direct = error * z;
  } else {
    deltas[0] = error * slope_of(f.kind, load(f.h + at, count));
  }
  for (int64_t i = 0; i < G; ++i) {
    store(dp + i * u, deltas[i], count);
    store(db + i * u + unit, load(db + i * u + unit, count) + deltas[i], count);
    store(D + i * u + unit, f.kind == GRU && i == 2 ? of_product : deltas[i], count);
  }
  if (f.kind == GRU) {
    float* dq = f.dq + (row * f.s.T + t) * G * u + unit;
    store(dq, deltas[0], count), store(dq + u, deltas[1], count), store(dq + 2 * u, of_product, count);
    store(dd + unit, load(dd + unit, count) + of_product, count);
  }
  store(dh, direct, count);
}

static void back_through(const Backward& f, int64_t m, int64_t end, float* dh, float* dc, float* db, float* dd) {
  constexpr int V = 4;
  const Sizes s = f.s;
  const int64_t rows = end - m, width = s.G * s.u;
  std::vector<float> D(rows * width);
  for (int64_t step_number = 0; step_number < s.T; ++step_number) {
    const int64_t t = f.reverse ? step_number : s.T - 1 - step_number, before = f.reverse ? (t + 1 < s.T ? t + 1 : -1) : t - 1;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t unit = 0; unit < s.u; unit += L) {
        float* cell = dc ? dc + (m + r) * s.u + unit : nullptr;
        back(f, m + r, t, before, unit, std::min<int64_t>(L, s.u - unit), dh + (m + r) * s.u + unit, cell, D.data() + r * width, db, dd);
      }
    for (int64_t i = 0; i < f.W->number; ++i)
      in_blocks<REGISTERS / V>(rows, [&](int64_t row, auto number) {
        constexpr int R = decltype(number)::value;
        vec acc[R][V] = {};
        multiply(acc, D.data() + row * width, width, width, f.W->panel(i));
        for (int r = 0; r < R; ++r)
          for (int64_t v = 0, unit = i * V * L; v < V && unit < s.u; ++v, unit += L) {
            const int64_t count = std::min<int64_t>(L, s.u - unit), at = (m + row + r) * s.u + unit;
            store(dh + at, load(dh + at, count) + (f.kept ? acc[r][v] * load(f.kept + at, count) : acc[r][v]), count);
          }
      });
  }
}

static ffi::Error backward(ffi::ThreadPool pool, In x, In W, In h0, In c0, In kept, InBytes mask, In h, In c, In gates, In h_errors, In c_errors,
                           Out dp, Out dq, Out db, Out dd, Out dh0, Out dc0, int64_t kind, bool reverse) {
  const auto shape = x.dimensions();
  const int64_t u = W.dimensions()[0], G = kind == LSTM ? 4 : kind == GRU ? 3 : 1;
  const Sizes s{shape[0], shape[1], shape[2], u, G};
  Panels panels(u, 1, 4, G * u);
  in_parallel(pool, panels.number, [&](int64_t i) { panels.pack(i, 0, W.typed_data(), G * u, 1, G * u); });
  const Backward f{s, kind, reverse, h0.typed_data(), given(c0), given(kept), mask.element_count() > 0 ? mask.typed_data() : nullptr,
                   h.typed_data(), given(c), given(gates), h_errors.typed_data(), given(c_errors), dp->typed_data(), dq->typed_data(), &panels};
  float* dc = kind == LSTM ? dc0->typed_data() : nullptr;
  std::memset(dh0->typed_data(), 0, dh0->size_bytes());
  std::memset(dc0->typed_data(), 0, dc0->size_bytes());
  const int64_t parts = parts_of(pool, s), sums = (G + 1) * u;
  std::vector<float> found(parts * sums, 0.f);      // the sums of each part: db (G u), dd (u)
  in_parts(pool, s.n, parts, [&](int64_t part, int64_t m, int64_t end) {
    back_through(f, m, end, dh0->typed_data(), dc, &found[part * sums], &found[part * sums + G * u]);
  });
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t i = 0; i < sums; ++i) found[i] += found[part * sums + i];
  std::copy_n(found.begin(), G * u, db->typed_data());
  if (dd->element_count() > 0) std::copy_n(found.begin() + G * u, u, dd->typed_data());
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
#define NUMBERS ffi::Buffer<ffi::F32>
XLA_FFI_DEFINE_HANDLER_SYMBOL(recurrent_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Arg<InBytes>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Attr<int64_t>("kind").Attr<bool>("reverse"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recurrent_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<InBytes>().Arg<In>()
    .Arg<In>().Arg<In>().Arg<In>().Arg<In>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>()
    .Attr<int64_t>("kind").Attr<bool>("reverse"));
