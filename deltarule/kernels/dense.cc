// A layer of neurons for a single row, float32 (rows 1, 16): h = g(x W + b). Nothing but the reading of W takes time.
//
// W (inputs, units) is read once, from its beginning to its end, in parts of so many inputs that depend on the sizes alone: their sums are
// added in their order, whatever thread worked them out.
#include "functions.h"

enum Activation { LINEAR, RELU, TANH, SIGMOID };

constexpr int64_t PART = 1 << 20;       // weights in a part: waking a thread takes as long as reading so many
constexpr int INPUTS = 4;               // that are taken together, so that sums are loaded and stored once for them

static inline vec bent(vec a, int64_t activation) {
  return activation == RELU ? relu_of(a) : activation == TANH ? tanh_of(a) : activation == SIGMOID ? 0.5f + 0.5f * tanh_of(0.5f * a) : a;
}

// sums (units) += x W of K inputs.
template <int K>
static inline void add(const float* x, const float* W, int64_t U, float* sums) {
  vec value[K];
  for (int k = 0; k < K; ++k) value[k] = each(x[k]);
  int64_t u = 0;
  for (; u + L <= U; u += L) {
    vec total = load(sums + u);
    for (int k = 0; k < K; ++k) total += value[k] * load(W + k * U + u);
    store(sums + u, total);
  }
  if (u == U) return;
  vec total = load(sums + u, U - u);
  for (int k = 0; k < K; ++k) total += value[k] * load(W + k * U + u, U - u);
  store(sums + u, total, U - u);
}

// sums (units) = sum over the inputs from `i` to `end` of x[i] W[i].
static void part_of(const float* x, const float* W, int64_t i, int64_t end, int64_t U, float* sums) {
  std::fill(sums, sums + U, 0.f);
  for (; i + INPUTS <= end; i += INPUTS) add<INPUTS>(x + i, W + i * U, U, sums);
  for (; i < end; ++i) add<1>(x + i, W + i * U, U, sums);
}

// b is empty where there is no bias.
static ffi::Error one_row(ffi::ThreadPool pool, In x, In W, In b, Out h, int64_t activation) {
  const int64_t I = W.dimensions()[0], U = W.dimensions()[1], parts = std::max<int64_t>(1, I * U / PART);
  const bool biased = b.element_count() > 0;
  std::vector<float> sums(parts * U);
  float* first = sums.data();
  const float *values = x.typed_data(), *weights = W.typed_data();
  in_parts(pool, I, parts, [=](int64_t part, int64_t i, int64_t end) { part_of(values, weights, i, end, U, first + part * U); });
  for (int64_t u = 0; u < U; u += L) {
    vec a = {};
    for (int64_t part = 0; part < parts; ++part) a += load(first + part * U + u, U - u);
    if (biased) a += load(b.typed_data() + u, U - u);
    store(h->typed_data() + u, bent(a, activation), U - u);
  }
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(dense_row, one_row, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In>().Arg<In>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Attr<int64_t>("activation"));
