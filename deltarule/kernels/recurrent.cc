// Recurrent networks over whole sequences, forward and backward, float32 (lecture rows 37 and 38).
//
//   a_t = x_t U + b + h_(t-1) W + d,   h_t = g(a_t), or by the gates of an LSTM or GRU
//
// The states of one sequence never meet those of another: each thread takes some of the sequences through all their steps. A step is one
// product of A_t = [h_(t-1), 1, x_t] with the weights, whose sums stay in registers until the gates have been worked out of them. The weights
// of the gates i, f, o (r, z) come halved: sigmoid(a) = (1 + tanh(a / 2)) / 2. Gradients of the weights are sum_t A_t^T delta_t, each number
// summed by one thread in the order of the steps, whatever the number of threads.
#include "products.h"

constexpr int64_t SMALL = 1 << 17;      // multiply-adds of a call that one thread does as quickly as two
constexpr int64_t TOGETHER = 128;        // rows of A whose products are summed up in registers
constexpr int64_t PIECE = 96;           // rows of a gradient that one thread works out at a time

// x (n, T, I), h (n, T, u), G gates side by side. Units come in blocks, 4 vectors each: one vector of units with all its gates, or four of
// units without gates. The gates of all steps, which become their deltas, are (T, blocks, n, 4, L), and A is (T, n, u + 1 + I).
struct Sizes {
  int64_t n, T, I, u, G;
  int64_t vectors() const { return G == 3 ? 3 : 4; }        // of a block that take part in a product
  int64_t wide() const { return G == 1 ? 4 * L : L; }       // units in a block
  int64_t blocks() const { return (u + wide() - 1) / wide(); }
  int64_t width() const { return u + 1 + I; }
  int64_t at(int64_t t, int64_t block, int64_t row) const { return ((t * blocks() + block) * n + row) * 4 * L; }
  // The first unit of vector v of a block, and its column in the weights. A GRU has h~, r, z and q_h, whose weights are those of h~.
  int64_t unit(int64_t block, int64_t v) const { return block * wide() + (G == 1 ? v * L : 0); }
  int64_t column(int64_t block, int64_t v) const { return (G == 1 ? 0 : G == 3 ? (v + 2) % 3 : v) * u + unit(block, v); }
  int64_t count(int64_t block, int64_t v) const { return std::clamp<int64_t>(u - unit(block, v), 0, L); }
};

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

// ---------------------------------------------------------------- forward

struct Forward {
  Sizes s;
  int64_t kind;
  bool reverse;
  const float *x, *first_h, *first_c, *kept;
  const uint8_t* mask;
  float *h, *c, *gates, *A;
  const Panels *W;        // of W above b above U; of a GRU, W above d above b above U
};

// Where the states of one sequence before a step lie.
static const float* states(const Sizes& s, const float* first, const float* every, int64_t row, int64_t before) {
  return before < 0 ? first + row * s.u : every + (row * s.T + before) * s.u;
}

// The new state of L units of one sequence at step t, from the sums of its gates.
template <int G>
static inline vec step(const Forward& f, int64_t row, int64_t t, int64_t before, int64_t i, const vec* q, vec p) {
  const int64_t unit = f.s.unit(i, 0), count = f.s.count(i, 0);
  float* gates = f.gates + f.s.at(t, i, row);
  if constexpr (G == 4) {
    vec tanhs[4];
    for (int v = 0; v < 4; ++v) store(gates + v * L, tanhs[v] = tanh_of(q[v]));
    const vec c = (1.f + tanhs[1]) * 0.5f * load(states(f.s, f.first_c, f.c, row, before) + unit, count) + (1.f + tanhs[0]) * 0.5f * tanhs[3];
    store(f.c + (row * f.s.T + t) * f.s.u + unit, c, count);
    return (1.f + tanhs[2]) * 0.5f * tanh_of(c);
  } else {
    const vec r = tanh_of(q[0]), z = tanh_of(q[1]), candidate = tanh_of(p + (1.f + r) * 0.5f * q[2]), open = (1.f + z) * 0.5f;
    store(gates, candidate), store(gates + L, r), store(gates + 2 * L, z), store(gates + 3 * L, q[2]);
    return open * load(states(f.s, f.first_h, f.h, row, before) + unit, count) + (1.f - open) * candidate;
  }
}

// A step of a block of units of one sequence, or none where the mask is False; `next` is its row of A at the step that follows.
template <int G>
static inline void move_on(const Forward& f, int64_t row, int64_t t, int64_t before, int64_t i, const vec* q, vec p, float* next) {
  const Sizes& s = f.s;
  const bool real = !f.mask || f.mask[row * s.T + t];
  for (int v = 0; v < (G == 1 ? 4 : 1) && s.count(i, v) > 0; ++v) {
    const int64_t unit = s.unit(i, v), count = s.count(i, v);
    vec h;
    if (!real) {
      h = load(states(s, f.first_h, f.h, row, before) + unit, count);
      if (G == 4) store(f.c + (row * s.T + t) * s.u + unit, load(states(s, f.first_c, f.c, row, before) + unit, count), count);
    } else if constexpr (G == 1) {
      h = g_of(f.kind, q[v]);
    } else {
      h = step<G>(f, row, t, before, i, q, p);
    }
    store(f.h + (row * s.T + t) * s.u + unit, h, count);
    store(next + unit, f.kept ? h * load(f.kept + row * s.u + unit, count) : h, count);
  }
}

// Sequences m ... end - 1 through all their steps.
template <int G>
static void through(const Forward& f, int64_t m, int64_t end) {
  constexpr int V = G == 3 ? 3 : 4;
  const Sizes s = f.s;
  const int64_t rows = end - m, width = s.width();
  std::vector<float> first(rows * width), last(rows * width);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < s.u; ++i) first[r * width + i] = f.first_h[(m + r) * s.u + i] * (f.kept ? f.kept[(m + r) * s.u + i] : 1.f);
  for (int64_t step_number = 0, before = -1; step_number < s.T; ++step_number) {
    const int64_t t = f.reverse ? s.T - 1 - step_number : step_number, after = f.reverse ? t - 1 : t + 1;
    float *now = f.A + (t * s.n + m) * width, *next = step_number + 1 < s.T ? f.A + (after * s.n + m) * width : last.data();
    if (before < 0) std::copy(first.begin(), first.end(), now);
    for (int64_t r = 0; r < rows; ++r) {
      now[r * width + s.u] = 1.f;
      std::memcpy(now + r * width + s.u + 1, f.x + ((m + r) * s.T + t) * s.I, s.I * sizeof(float));
    }
    for (int64_t i = 0; i < s.blocks(); ++i)
      in_blocks<REGISTERS / V>(rows, [&](int64_t row, auto number) {
        constexpr int R = decltype(number)::value;
        vec acc[R][V] = {}, apart[R] = {};
        const float* A = now + row * width;
        multiply(acc, A, width, 1, s.u + 1, f.W->panel(i), V * L);
        if (G == 3)
          for (int r = 0; r < R; ++r) apart[r] = acc[r][V - 1], acc[r][V - 1] = vec{};
        multiply(acc, A + s.u + (G != 3), width, 1, s.I + (G == 3), f.W->panel(i, s.u + 1), V * L);
        if (G == 3)
          for (int r = 0; r < R; ++r) std::swap(apart[r], acc[r][V - 1]);
        for (int r = 0; r < R; ++r) move_on<G>(f, m + row + r, t, before, i, acc[r], apart[r], next + (row + r) * width);
      });
    before = t;
  }
}

static int64_t parts_of(const ffi::ThreadPool& pool, const Sizes& s) {
  return s.n * s.T * s.u * s.G * (s.u + s.I) < SMALL ? 1 : std::clamp<int64_t>(pool.num_threads(), 1, std::max<int64_t>(1, s.n));
}

static const float* given(const In& values) { return values.element_count() > 0 ? values.typed_data() : nullptr; }
static const uint8_t* given(const InBytes& values) { return values.element_count() > 0 ? values.typed_data() : nullptr; }
static int64_t gates_of(int64_t kind) { return kind == LSTM ? 4 : kind == GRU ? 3 : 1; }

static ffi::Error forward(ffi::ThreadPool pool, In x, In U, In b, In W, In d, In h0, In c0, In kept, InBytes mask, Out h, Out c, Out gates, Out A,
                          int64_t kind, bool reverse) {
  const auto shape = x.dimensions();
  const Sizes s{shape[0], shape[1], shape[2], W.dimensions()[0], gates_of(kind)};
  const int64_t columns = s.G * s.u, biases = s.G == 3 ? 2 : 1;
  Panels panels(s.u, s.G, s.vectors(), s.u + biases + s.I);
  in_parallel(pool, panels.number, [&](int64_t i) {
    panels.pack(i, 0, W.typed_data(), s.u, columns, 1);
    if (s.G == 3) panels.pack(i, s.u, d.typed_data(), 1, columns, 1);
    panels.pack(i, s.u + biases - 1, b.typed_data(), 1, columns, 1);
    panels.pack(i, s.u + biases, U.typed_data(), s.I, columns, 1);
  });
  const Forward f{s, kind, reverse, x.typed_data(), h0.typed_data(), given(c0), given(kept), given(mask), h->typed_data(), c->typed_data(),
                  gates->typed_data(), A->typed_data(), &panels};
  in_parts(pool, s.n, parts_of(pool, s), [&](int64_t, int64_t m, int64_t end) {
    s.G == 4 ? through<4>(f, m, end) : s.G == 3 ? through<3>(f, m, end) : through<1>(f, m, end);
  });
  return ffi::Error::Success();
}

// --------------------------------------------------------------- backward

// The transposed weights, cut into panels for products with deltas as they lie there, from vector `first` of each block on.
static void pack_transposed(Panels& panels, const Sizes& s, int64_t i, int64_t first, const float* M) {
  const int64_t V = s.vectors(), wide = panels.wide(), outputs = std::min(wide, panels.units - i * wide);
  for (int64_t block = 0; block < s.blocks(); ++block)
    for (int64_t v = 0; v < V; ++v) {
      const int64_t count = s.count(block, first + v);
      float* to = panels.packed.data() + (i * panels.K + (block * V + v) * L) * wide;
      for (int64_t c = 0; c < outputs && count > 0; ++c) {
        const float* from = M + (i * wide + c) * s.G * s.u + s.column(block, first + v);
        for (int64_t k = 0; k < count; ++k) to[k * wide + c] = from[k];
      }
    }
}

// put(row, first output, number of outputs, values) for the product of the deltas of one step, rows m ... end - 1, with such panels.
template <class Put>
static void times(const Sizes& s, const float* deltas, int64_t m, int64_t end, int64_t first, const Panels& panels, Put put) {
  constexpr int V = 4;
  const int64_t K = s.vectors() * L;
  for (int64_t i = 0; i < panels.number; ++i)
    in_blocks<REGISTERS / V>(end - m, [&](int64_t row, auto number) {
      constexpr int R = decltype(number)::value;
      vec acc[R][V] = {};
      for (int64_t block = 0; block < s.blocks(); ++block)
        multiply(acc, deltas + s.at(0, block, m + row) + first * L, 4 * L, 1, K, panels.panel(i, block * K), V * L);
      for (int r = 0; r < R; ++r)
        for (int64_t v = 0, at = i * V * L; v < V && at < panels.units; ++v, at += L)
          put(m + row + r, at, std::min<int64_t>(L, panels.units - at), acc[r][v]);
    });
}

struct Backward {
  Sizes s;
  int64_t kind;
  bool reverse;
  const float *first_h, *first_c, *kept;
  const uint8_t* mask;
  const float *h, *c, *gates, *h_errors, *c_errors;
  float *deltas, *dh, *dc, *dkept;        // deltas may lie where the gates are
  const Panels* W;        // transposed
};

// What goes on from step t of one sequence to the step before, for a block of units, without what comes through W; and its deltas.
template <int G>
static inline void back(const Backward& f, int64_t row, int64_t t, int64_t before, int64_t i) {
  const Sizes& s = f.s;
  const int64_t unit = s.unit(i, 0), count = s.count(i, 0), at = (row * s.T + t) * s.u + unit, place = s.at(t, i, row);
  const float* kept = f.gates + place;
  vec deltas[4] = {};
  if (f.mask && !f.mask[row * s.T + t]) {       // the errors go on as they are
    for (int64_t k = 0; k < std::min(s.wide(), s.u - unit); ++k) {
      f.dh[row * s.u + unit + k] += f.h_errors[at + k];
      if (G == 4) f.dc[row * s.u + unit + k] += f.c_errors[at + k];
    }
  } else if constexpr (G == 1) {
    for (int v = 0; v < 4 && s.count(i, v) > 0; ++v) {
      float* dh = f.dh + row * s.u + s.unit(i, v);
      const int64_t n = s.count(i, v);
      deltas[v] = (load(dh, n) + load(f.h_errors + at + v * L, n)) * slope_of(f.kind, load(f.h + at + v * L, n));
      store(dh, vec{}, n);
    }
  } else if constexpr (G == 4) {
    float *dh = f.dh + row * s.u + unit, *dc = f.dc + row * s.u + unit;
    const vec error = load(dh, count) + load(f.h_errors + at, count), cell_error = load(dc, count) + load(f.c_errors + at, count);
    const vec ti = load(kept), tf = load(kept + L), to = load(kept + 2 * L), g = load(kept + 3 * L);
    const vec old_c = load(states(s, f.first_c, f.c, row, before) + unit, count);
    const vec tanh_c = tanh_of(load(f.c + at, count)), o = (1.f + to) * 0.5f;
    const vec into = cell_error + error * o * (1.f - tanh_c * tanh_c);
    deltas[0] = into * g * 0.5f * (1.f - ti * ti);
    deltas[1] = into * old_c * 0.5f * (1.f - tf * tf);
    deltas[2] = error * tanh_c * 0.5f * (1.f - to * to);
    deltas[3] = into * (1.f + ti) * 0.5f * (1.f - g * g);
    store(dc, into * (1.f + tf) * 0.5f, count), store(dh, vec{}, count);
  } else {
    float* dh = f.dh + row * s.u + unit;
    const vec error = load(dh, count) + load(f.h_errors + at, count);
    const vec candidate = load(kept), tr = load(kept + L), tz = load(kept + 2 * L), q_h = load(kept + 3 * L), z = (1.f + tz) * 0.5f;
    const vec old_h = load(states(s, f.first_h, f.h, row, before) + unit, count);
    deltas[0] = error * (1.f - z) * (1.f - candidate * candidate);
    deltas[1] = deltas[0] * q_h * 0.5f * (1.f - tr * tr);
    deltas[2] = error * (old_h - candidate) * 0.5f * (1.f - tz * tz);
    deltas[3] = deltas[0] * (1.f + tr) * 0.5f;
    store(dh, error * z, count);
  }
  for (int v = 0; v < 4; ++v) store(f.deltas + place + v * L, deltas[v]);
}

template <int G>
static void back_through(const Backward& f, int64_t m, int64_t end) {
  const Sizes s = f.s;
  for (int64_t step_number = 0; step_number < s.T; ++step_number) {
    const int64_t t = f.reverse ? step_number : s.T - 1 - step_number, before = f.reverse ? (t + 1 < s.T ? t + 1 : -1) : t - 1;
    for (int64_t i = 0; i < s.blocks(); ++i)
      for (int64_t row = m; row < end; ++row) back<G>(f, row, t, before, i);
    times(s, f.deltas + s.at(t, 0, 0), m, end, G == 3, *f.W, [&](int64_t row, int64_t unit, int64_t count, vec error) {
      float *dh = f.dh + row * s.u + unit, *dkept = f.dkept + row * s.u + unit;
      if (f.kept) {
        store(dkept, load(dkept, count) + error * load(states(s, f.first_h, f.h, row, before) + unit, count), count);
        error *= load(f.kept + row * s.u + unit, count);
      }
      store(dh, load(dh, count) + error, count);
    });
  }
}

// Rows from ... to - 1 of dL/d[W, 1, U], of one block of units and its vectors from `first` on; the row of ones is a bias.
struct Gradient {
  int64_t first, from, to;
  float* bias;
};

template <int V>
static void sum_up(const Sizes& s, const float* A, const float* deltas, int64_t block, const Gradient& g, float* dW, float* dU) {
  const int64_t width = s.width(), steps = std::max<int64_t>(1, TOGETHER / std::max<int64_t>(1, s.n));
  std::vector<float> sums((g.to - g.from) * V * L, 0.f);
  for (int64_t begin = 0; begin < s.T; begin += steps)
    in_blocks<REGISTERS / V>(g.to - g.from, [&](int64_t row, auto number) {
      constexpr int R = decltype(number)::value;
      float* at = sums.data() + row * V * L;
      vec acc[R][V];
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) acc[r][v] = load(at + (r * V + v) * L);
      for (int64_t t = begin; t < std::min(s.T, begin + steps); ++t)
        multiply(acc, A + t * s.n * width + g.from + row, 1, width, s.n, deltas + s.at(t, block, 0) + g.first * L, 4 * L);
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(at + (r * V + v) * L, acc[r][v]);
    });
  for (int64_t row = g.from; row < g.to; ++row) {
    float* to = row < s.u ? dW + row * s.G * s.u : row == s.u ? g.bias : dU + (row - s.u - 1) * s.G * s.u;
    for (int64_t v = 0; v < V; ++v)
      std::copy_n(sums.data() + ((row - g.from) * V + v) * L, s.count(block, g.first + v), to + s.column(block, g.first + v));
  }
}

static ffi::Error backward(ffi::ThreadPool pool, In W, In h0, In c0, In kept, InBytes mask, In h, In c, In gates, In A, In h_errors, In c_errors,
                           Out deltas, Out dU, Out db, Out dW, Out dd, Out dh0, Out dc0, Out dkept, int64_t kind, bool reverse) {
  const auto shape = h.dimensions();
  const Sizes s{shape[0], shape[1], dU->dimensions()[0], shape[2], gates_of(kind)};
  Panels panels(s.u, 1, 4, s.blocks() * s.vectors() * L);
  in_parallel(pool, panels.number, [&](int64_t i) { pack_transposed(panels, s, i, s.G == 3, W.typed_data()); });
  const Backward f{s, kind, reverse, h0.typed_data(), given(c0), given(kept), given(mask), h.typed_data(), given(c), given(gates),
                   h_errors.typed_data(), given(c_errors), deltas->typed_data(), dh0->typed_data(), dc0->typed_data(), dkept->typed_data(), &panels};
  for (Out* out : {&dh0, &dc0, &dkept}) std::memset((*out)->typed_data(), 0, (*out)->size_bytes());
  const int64_t parts = parts_of(pool, s);
  in_parts(pool, s.n, parts, [&](int64_t, int64_t m, int64_t end) {
    s.G == 4 ? back_through<4>(f, m, end) : s.G == 3 ? back_through<3>(f, m, end) : back_through<1>(f, m, end);
  });
  std::vector<Gradient> pieces;
  const auto cut = [&](int64_t first, int64_t from, int64_t to, float* bias) {
    const int64_t n = (to - from + PIECE - 1) / PIECE;
    for (int64_t k = 0; k < n; ++k) pieces.push_back({first, from + k * (to - from) / n, from + (k + 1) * (to - from) / n, bias});
  };
  if (s.G == 3) cut(1, 0, s.u + 1, dd->typed_data()), cut(0, s.u, s.width(), db->typed_data());
  else cut(0, 0, s.width(), db->typed_data());
  const int64_t number = (int64_t)pieces.size();
  const auto work = [&](int64_t task) {
    const auto sum = s.G == 3 ? sum_up<3> : sum_up<4>;
    sum(s, A.typed_data(), deltas->typed_data(), task / number, pieces[task % number], dW->typed_data(), dU->typed_data());
  };
  in_parallel(pool, s.blocks() * number, work);
  return ffi::Error::Success();
}

// dL/dx_t = delta_t U^T.
static ffi::Error inputs(ffi::ThreadPool pool, In deltas, In U, Out dx, int64_t kind) {
  const auto shape = dx->dimensions();
  const Sizes s{shape[0], shape[1], shape[2], U.dimensions()[1] / gates_of(kind), gates_of(kind)};
  Panels panels(s.I, 1, 4, s.blocks() * s.vectors() * L);
  in_parallel(pool, panels.number, [&](int64_t i) { pack_transposed(panels, s, i, 0, U.typed_data()); });
  in_parallel(pool, s.T, [&](int64_t t) {
    times(s, deltas.typed_data() + s.at(t, 0, 0), 0, s.n, 0, panels, [&](int64_t row, int64_t i, int64_t count, vec error) {
      store(dx->typed_data() + (row * s.T + t) * s.I + i, error, count);
    });
  });
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
#define NUMBERS ffi::Buffer<ffi::F32>
XLA_FFI_DEFINE_HANDLER_SYMBOL(recurrent_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Arg<InBytes>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Attr<int64_t>("kind").Attr<bool>("reverse"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recurrent_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<InBytes>().Arg<In>().Arg<In>()
    .Arg<In>().Arg<In>().Arg<In>().Arg<In>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>().Ret<NUMBERS>()
    .Ret<NUMBERS>().Ret<NUMBERS>().Attr<int64_t>("kind").Attr<bool>("reverse"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recurrent_inputs, inputs, FFI.Arg<In>().Arg<In>().Ret<NUMBERS>().Attr<int64_t>("kind"));
