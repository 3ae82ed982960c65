// Attention, forward and backward, float32 (lecture row 39; Vaswani et al. 2017).
//
//   A = exp(s - log Z),  s = Q K^T / sqrt(d),  Z = sum_k exp(s),   O = A V
//   dV = A^T dO,   dA = dO V^T,   dS = A (dA - sum_k A dA) / sqrt(d),   dQ = dS K,   dK = dS^T Q
//
// A few queries at a time look at all keys that they may see: their weights stay in the cache and never stand as a whole, forward or back,
// where they are worked out once more (Dao et al. 2022). They lie with the queries side by side in a vector, one row for each key.
#include "functions.h"

constexpr int64_t QUERIES = 2 * L;      // in one turn

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

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Ret<ffi::Buffer<ffi::F32>>()
    .Ret<ffi::Buffer<ffi::F32>>().Attr<bool>("causal"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(attention_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Attr<bool>("causal"));
