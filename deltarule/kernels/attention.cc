// Attention, forward and backward, float32 (lecture row 39; Vaswani et al. 2017).
//
//   A = exp(s - log Z),  s = Q K^T / sqrt(d),  Z = sum_k exp(s),   O = A V
//   dV = A^T dO,   dA = dO V^T,   dS = A (dA - sum_k A dA) / sqrt(d),   dQ = dS K,   dK = dS^T Q
//
// A few queries at a time look at all keys that they may see: their weights stay in the cache and never stand as a whole, forward or back,
// where they are worked out once more (Dao et al. 2022). They lie with the queries side by side in a vector, one row for each key.
#include "functions.h"
#include <functional>

constexpr int64_t QUERIES = 2 * L;      // in one turn
constexpr int64_t MUCH = 1 << 20;       // multiply-adds of a call that are worth a second thread

typedef ffi::Buffer<ffi::PRED> Truths;

struct Sizes {
  int64_t n, T, S, heads, d, e;         // Q (n, T, heads, d), K (n, S, heads, d), V (n, S, heads, e), O (n, T, heads, e)
  int64_t keys_of(int64_t last, bool causal) const { return causal ? std::min(S, last) : S; }
};

static Sizes sizes_of(const In& Q, const In& K, const In& V) {
  const auto q = Q.dimensions(), v = V.dimensions();
  return {(int64_t)q[0], (int64_t)q[1], (int64_t)v[1], (int64_t)q[2], (int64_t)q[3], (int64_t)v[3]};
}

// ---------------------------------------------------------------- products

// C = A B, or C + A B, for R rows and W vectors: A[i, k] at A + i down + k along, rows of B and C `b` and `c` apart.
template <int R, int W, bool ADD>
static inline void tile(int64_t K, const float* A, int64_t down, int64_t along, const float* B, int64_t b, float* C, int64_t c) {
  vec sums[R][W];
  for (int i = 0; i < R; ++i)
    for (int w = 0; w < W; ++w) sums[i][w] = ADD ? load(C + i * c + w * L) : vec{};
  for (int64_t k = 0; k < K; ++k) {
    vec row[W];
    for (int w = 0; w < W; ++w) row[w] = load(B + k * b + w * L);
    for (int i = 0; i < R; ++i) {
      const vec a = each(A[i * down + k * along]);
      for (int w = 0; w < W; ++w) sums[i][w] += a * row[w];
    }
  }
  for (int i = 0; i < R; ++i)
    for (int w = 0; w < W; ++w) store(C + i * c + w * L, sums[i][w]);
}

// As many rows as fit, then fewer and fewer.
template <int R, int W, bool ADD>
static inline void rows(int64_t M, int64_t K, const float* A, int64_t down, int64_t along, const float* B, int64_t b, float* C, int64_t c) {
  int64_t i = 0;
  for (; i + R <= M; i += R) tile<R, W, ADD>(K, A + i * down, down, along, B, b, C + i * c, c);
  if constexpr (R > 1) rows<R / 2, W, ADD>(M - i, K, A + i * down, down, along, B, b, C + i * c, c);
}

// C (M, N) = A (M, K) B (K, N), or C + A B, with N in whole vectors.
template <bool ADD = false>
static void product(int64_t M, int64_t N, int64_t K, const float* A, int64_t down, int64_t along, const float* B, int64_t b, float* C, int64_t c) {
  int64_t j = 0;
  for (; j + 2 * L <= N; j += 2 * L) rows<8, 2, ADD>(M, K, A, down, along, B + j, b, C + j, c);
  if (j < N) rows<8, 1, ADD>(M, K, A, down, along, B + j, b, C + j, c);
}

// ---------------------------------------------------------------- a head

// What a thread works with: the rows of one head side by side, in whole vectors with zeros behind them, and the scores of one turn.
struct Head {
  std::vector<float> Q, K, V, dO, columns, S, dA, dK, dV, results;
  void prepare(const Sizes& s, bool back) {
    const int64_t d = full(s.d), e = full(s.e);
    Q.resize(QUERIES * d), K.resize(s.S * d), V.resize(s.S * e), dO.resize(QUERIES * e), results.resize(QUERIES * std::max(d, e));
    columns.resize(std::max(s.d, s.e) * QUERIES), S.resize(s.S * QUERIES);
    if (back) dA.resize(s.S * QUERIES), dK.assign(s.S * d, 0.f), dV.assign(s.S * e, 0.f);
  }
};

static Head& head_of(const Sizes& s, bool back) {
  thread_local Head kept;
  kept.prepare(s, back);
  return kept;
}

// Rows (count, width) of one head, `apart` numbers apart.
static void gather(const float* from, int64_t count, int64_t width, int64_t apart, float* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < width; k += L) store(to + i * full(width) + k, load(from + i * apart + k, width - k));
}

static void scatter(const float* from, int64_t count, int64_t width, int64_t apart, float* to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < width; k += L) store(to + i * apart + k, load(from + i * full(width) + k), width - k);
}

// Rows (queries, width) as columns (width, QUERIES), times a factor; zeros beyond the last query.
static void turned(const float* from, int64_t queries, int64_t width, float factor, float* to) {
  for (int64_t k = 0; k < width; ++k) {
    for (int64_t i = 0; i < queries; ++i) to[k * QUERIES + i] = factor * from[i * full(width) + k];
    for (int64_t i = queries; i < QUERIES; ++i) to[k * QUERIES + i] = 0;
  }
}

// The scores S (keys, QUERIES) of some queries from `first` on, minus infinity where they may not look.
static void scores(const Sizes& s, Head& own, int64_t first, int64_t queries, int64_t keys, bool causal, const float* seen) {
  turned(own.Q.data(), queries, s.d, 1 / std::sqrt((float)s.d), own.columns.data());
  product(keys, QUERIES, s.d, own.K.data(), full(s.d), 1, own.columns.data(), QUERIES, own.S.data(), QUERIES);
  const float never = -std::numeric_limits<float>::infinity();
  for (int64_t k = causal ? first + 1 : keys; k < keys; ++k) std::fill_n(&own.S[k * QUERIES], std::min(QUERIES, k - first), never);
  for (int64_t k = 0; seen && k < keys; ++k)
    if (seen[k] == 0) std::fill_n(&own.S[k * QUERIES], QUERIES, never);
}

// ------------------------------------------------------- forward, backward

// `seen` (n, S) is 0 for keys at which nobody may look; empty: all may be looked at.
static ffi::Error forward(ffi::ThreadPool pool, In Q, In K, In V, In seen, Out O, Out log_Z, bool causal) {
  const Sizes s = sizes_of(Q, K, V);
  const float* looked = seen.element_count() > 0 ? seen.typed_data() : nullptr;
  in_parallel(pool, s.n * s.heads, [&](int64_t task) {
    const int64_t m = task / s.heads, h = task % s.heads, row = s.heads * s.d, wide = s.heads * s.e;
    Head& own = head_of(s, false);
    gather(K.typed_data() + m * s.S * row + h * s.d, s.S, s.d, row, own.K.data());
    gather(V.typed_data() + m * s.S * wide + h * s.e, s.S, s.e, wide, own.V.data());
    for (int64_t first = 0; first < s.T; first += QUERIES) {
      const int64_t queries = std::min(QUERIES, s.T - first), keys = s.keys_of(first + queries, causal);
      gather(Q.typed_data() + (m * s.T + first) * row + h * s.d, queries, s.d, row, own.Q.data());
      scores(s, own, first, queries, keys, causal, looked ? looked + m * s.S : nullptr);
      float* S = own.S.data();
      for (int64_t i = 0; i < QUERIES; i += L) {
        vec most = each(std::numeric_limits<float>::lowest()), Z = {};
        for (int64_t k = 0; k < keys; ++k) most = larger(load(S + k * QUERIES + i), most);
        for (int64_t k = 0; k < keys; ++k) {
          const vec E = exp_of(load(S + k * QUERIES + i) - most);
          Z += E;
          store(S + k * QUERIES + i, E);
        }
        const vec share = Z == 0 ? vec{} : 1 / Z;      // zero where nothing may be looked at
        for (int64_t k = 0; k < keys; ++k) store(S + k * QUERIES + i, load(S + k * QUERIES + i) * share);
        for (int j = 0; j < L; ++j) most[j] = Z[j] == 0 ? std::numeric_limits<float>::max() : most[j] + std::log(Z[j]);
        if (queries > i) store(log_Z->typed_data() + task * s.T + first + i, most, queries - i);
      }
      product(queries, full(s.e), keys, S, 1, QUERIES, own.V.data(), full(s.e), own.results.data(), full(s.e));
      scatter(own.results.data(), queries, s.e, wide, O->typed_data() + (m * s.T + first) * wide + h * s.e);
    }
  });
  return ffi::Error::Success();
}

static ffi::Error backward(ffi::ThreadPool pool, In Q, In K, In V, In seen, In log_Z, In dO, Out dQ, Out dK, Out dV, bool causal) {
  const Sizes s = sizes_of(Q, K, V);
  const float* looked = seen.element_count() > 0 ? seen.typed_data() : nullptr;
  in_parallel(pool, s.n * s.heads, [&](int64_t task) {
    const int64_t m = task / s.heads, h = task % s.heads, row = s.heads * s.d, wide = s.heads * s.e, d = full(s.d), e = full(s.e);
    const int64_t keys_at = m * s.S * row + h * s.d, values_at = m * s.S * wide + h * s.e;
    Head& own = head_of(s, true);
    gather(K.typed_data() + keys_at, s.S, s.d, row, own.K.data());
    gather(V.typed_data() + values_at, s.S, s.e, wide, own.V.data());
    for (int64_t first = 0; first < s.T; first += QUERIES) {
      const int64_t queries = std::min(QUERIES, s.T - first), keys = s.keys_of(first + queries, causal);
      const int64_t queries_at = (m * s.T + first) * row + h * s.d;
      float *S = own.S.data(), *dA = own.dA.data();
      const float factor = 1 / std::sqrt((float)s.d);
      gather(Q.typed_data() + queries_at, queries, s.d, row, own.Q.data());
      gather(dO.typed_data() + (m * s.T + first) * wide + h * s.e, queries, s.e, wide, own.dO.data());
      scores(s, own, first, queries, keys, causal, looked ? looked + m * s.S : nullptr);
      turned(own.dO.data(), queries, s.e, 1.f, own.columns.data());
      product(keys, QUERIES, s.e, own.V.data(), e, 1, own.columns.data(), QUERIES, dA, QUERIES);
      for (int64_t i = 0; i < std::min(QUERIES, full(queries)); i += L) {
        const vec Z = load(log_Z.typed_data() + task * s.T + first + i, queries - i);
        vec shared = {};
        for (int64_t k = 0; k < keys; ++k) {
          const vec A = exp_of(load(S + k * QUERIES + i) - Z);
          shared += A * load(dA + k * QUERIES + i);
          store(S + k * QUERIES + i, A);
        }
        for (int64_t k = 0; k < keys; ++k)
          store(dA + k * QUERIES + i, load(S + k * QUERIES + i) * (load(dA + k * QUERIES + i) - shared) * factor);
      }
      product(queries, d, keys, dA, 1, QUERIES, own.K.data(), d, own.results.data(), d);
      scatter(own.results.data(), queries, s.d, row, dQ->typed_data() + queries_at);
      product<true>(keys, d, queries, dA, QUERIES, 1, own.Q.data(), d, own.dK.data(), d);
      product<true>(keys, e, queries, S, QUERIES, 1, own.dO.data(), e, own.dV.data(), e);
    }
    scatter(own.dK.data(), s.S, s.d, row, dK->typed_data() + keys_at);
    scatter(own.dV.data(), s.S, s.e, wide, dV->typed_data() + values_at);
  });
  return ffi::Error::Success();
}

// ------------------------------------------------------- step after step

// All numbers of a vector as one, half of them at a time.
template <class F>
static inline float folded(vec values, F f) {
  float number[L];
  store(number, values);
  for (int half = L / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) number[i] = f(number[i], number[i + half]);
  return number[0];
}

// o = softmax(q K^T / sqrt(d)) V of one query and the first `count` of the places that are kept, `real` among them: keys (d, room), values
// (room, wide). In S there is room for `room` numbers, in o for `wide`.
static void looked_up(const float* q, int64_t d, const float* keys, const float* values, const bool* real, int64_t count, int64_t room,
                      int64_t wide, float* S, float* o) {
  const float never = -std::numeric_limits<float>::infinity(), factor = 1 / std::sqrt((float)d);
  const int64_t places = full(count);
  int64_t k = 0;
  for (; k + 4 * L <= places; k += 4 * L) tile<1, 4, false>(d, q, 0, 1, keys + k, room, S + k, 0);
  switch ((places - k) / L) {
    case 3: tile<1, 3, false>(d, q, 0, 1, keys + k, room, S + k, 0); break;
    case 2: tile<1, 2, false>(d, q, 0, 1, keys + k, room, S + k, 0); break;
    case 1: tile<1, 1, false>(d, q, 0, 1, keys + k, room, S + k, 0);
  }
  vec most = each(std::numeric_limits<float>::lowest()), sums = {};
  for (k = 0; k < places; k += L) {
    vec s = load_bytes((const uint8_t*)real + k, L) != 0 ? load(S + k) * factor : each(never);
    for (int64_t i = count - k; i < L; ++i) s[i] = never;
    most = larger(s, most);
    store(S + k, s);
  }
  const float largest = folded(most, [](float a, float b) { return std::max(a, b); });
  for (k = 0; k < places; k += L) {
    const vec E = exp_of(load(S + k) - largest);
    sums += E;
    store(S + k, E);
  }
  const float Z = folded(sums, std::plus<float>()), share = Z == 0 ? 0 : 1 / Z;       // nothing where nothing may be looked at
  for (int64_t j = 0; j < wide; j += L) {
    vec found[4] = {};
    for (k = 0; k < places; k += 4)
      for (int i = 0; i < 4; ++i) found[i] += S[k + i] * load(values + (k + i) * wide + j);
    store(o + j, (found[0] + found[1] + (found[2] + found[3])) * share);
  }
}

// Steps Q, K and V (n, steps, heads, d) that come behind `place` others, whose keys (n heads, d, room) and values (n heads, room, wide) are
// kept, rooms and widths in whole vectors; real and here tell padding. The new ones are kept as well, where the others are.
static ffi::Error onward(ffi::ThreadPool pool, In Q, In K, In V, Truths here, In, In, Truths, ffi::Buffer<ffi::S32> place, Out O, Out keys,
                         Out values, ffi::ResultBuffer<ffi::PRED> real) {
  const auto shape = Q.dimensions();
  const int64_t n = shape[0], steps = shape[1], heads = shape[2], d = shape[3];
  const int64_t room = values->dimensions()[1], wide = values->dimensions()[2];
  const int64_t first = std::clamp<int64_t>(place.typed_data()[0], 0, room - steps);
  for (int64_t m = 0; m < n; ++m) std::copy_n(here.typed_data() + m * steps, steps, real->typed_data() + m * room + first);
  const int64_t parts = n * heads * steps * (first + steps) * 2 * d < MUCH ? 1 : std::clamp<int64_t>(pool.num_threads(), 1, n * heads);
  in_parts(pool, n * heads, parts, [&](int64_t, int64_t row, int64_t end) {
    std::vector<float> S(room), o(wide);
    for (; row < end; ++row) {
      const int64_t m = row / heads, h = row % heads;
      float *own_keys = keys->typed_data() + row * d * room, *own_values = values->typed_data() + row * room * wide;
      for (int64_t t = 0; t < steps; ++t) {
        const int64_t at = (m * steps + t) * heads + h;
        for (int64_t i = 0; i < d; ++i) own_keys[i * room + first + t] = K.typed_data()[at * d + i];
        std::copy_n(V.typed_data() + at * d, d, own_values + (first + t) * wide);
        looked_up(Q.typed_data() + at * d, d, own_keys, own_values, real->typed_data() + m * room, first + t + 1, room, wide, S.data(), o.data());
        std::copy_n(o.data(), d, O->typed_data() + at * d);
      }
    }
  });
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Ret<ffi::Buffer<ffi::F32>>()
    .Ret<ffi::Buffer<ffi::F32>>().Attr<bool>("causal"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Attr<bool>("causal"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_onward, onward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<Truths>().Arg<In>().Arg<In>().Arg<Truths>()
    .Arg<ffi::Buffer<ffi::S32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<Truths>());
