// What a transformer does to each row of features: layer normalization, and GELU with its bias, forward and backward, float32 (row 39).
//
//   y = gamma x_hat + beta,   x_hat = (x - mu) / sigma,   mu and sigma^2 of each row (Ba, Kiros and Hinton 2016)
//   d = gamma dy,   dx = (d - mean d - x_hat mean(d x_hat)) / sigma,   dgamma = sum dy x_hat,   dbeta = sum dy over the rows
//
//   h = z Phi(z),   z = a + b,   da = dh (Phi(z) + z phi(z)),   db = sum da over the rows (Hendrycks and Gimpel 2016)
//
// A row is read once and stays in the cache; what is needed for the way back is worked out once more.
#include "functions.h"

struct Rows {
  int64_t n, C;
  explicit Rows(const In& x) : C(x.dimensions().back()) { n = C > 0 ? (int64_t)x.element_count() / C : 0; }
};

constexpr int64_t PARTS = 16;       // that rows are shared out in: as many whatever the number of threads, so that sums are the same

// work(part, first row, last row + 1), and sums (2, C in whole vectors) of each part, added up into `first` and `second`.
template <class F>
static void summed(ffi::ThreadPool& pool, const Rows& s, float* first, float* second, F work) {
  const int64_t parts = std::clamp<int64_t>(s.n / 32, 1, PARTS), C = full(s.C);
  std::vector<float> sums(parts * 2 * C, 0.f);
  in_parts(pool, s.n, parts, [&](int64_t part, int64_t row, int64_t end) { work(row, end, &sums[part * 2 * C]); });
  for (int64_t c = 0; c < s.C; ++c) {
    double one = 0, two = 0;
    for (int64_t part = 0; part < parts; ++part) one += sums[part * 2 * C + c], two += sums[(part * 2 + 1) * C + c];
    if (first) first[c] = (float)one;
    if (second) second[c] = (float)two;
  }
}

static float sum_of(vec values) {
  float total = 0;
  for (int i = 0; i < L; ++i) total += values[i];
  return total;
}

// ----------------------------------------------------- layer normalization

struct Moments { float mu, share; };        // mean of a row, and 1 / sigma

static Moments moments_of(const float* x, int64_t C, float epsilon) {
  vec total = {}, spread = {};
  for (int64_t c = 0; c < C; c += L) total += load(x + c, C - c);
  const float mu = sum_of(total) / (float)C;
  for (int64_t c = 0; c < C; c += L) {
    vec apart = load(x + c, C - c) - mu;
    for (int64_t i = C - c; i < L; ++i) apart[i] = 0;
    spread += apart * apart;
  }
  return {mu, 1 / std::sqrt(sum_of(spread) / (float)C + epsilon)};
}

static ffi::Error layer_forward(ffi::ThreadPool pool, In x, In gamma, In beta, Out y, float epsilon) {
  const Rows s(x);
  in_parts(pool, s.n, std::clamp<int64_t>(s.n / 32, 1, PARTS), [&](int64_t, int64_t row, int64_t end) {
    for (; row < end; ++row) {
      const float* from = x.typed_data() + row * s.C;
      const Moments at = moments_of(from, s.C, epsilon);
      for (int64_t c = 0; c < s.C; c += L) {
        const int64_t count = s.C - c;
        const vec x_hat = (load(from + c, count) - at.mu) * at.share;
        store(y->typed_data() + row * s.C + c, load(gamma.typed_data() + c, count) * x_hat + load(beta.typed_data() + c, count), count);
      }
    }
  });
  return ffi::Error::Success();
}

static ffi::Error layer_backward(ffi::ThreadPool pool, In x, In gamma, In dy, Out dx, Out dgamma, Out dbeta, float epsilon) {
  const Rows s(x);
  summed(pool, s, dgamma->typed_data(), dbeta->typed_data(), [&](int64_t row, int64_t end, float* sums) {
    for (; row < end; ++row) {
      const float *from = x.typed_data() + row * s.C, *errors = dy.typed_data() + row * s.C;
      const Moments at = moments_of(from, s.C, epsilon);
      vec total = {}, product = {};
      for (int64_t c = 0; c < s.C; c += L) {
        const int64_t count = s.C - c;
        const vec x_hat = (load(from + c, count) - at.mu) * at.share, error = load(errors + c, count);
        const vec d = load(gamma.typed_data() + c, count) * error;
        total += d, product += d * x_hat;
        store(sums + c, load(sums + c) + error * x_hat), store(sums + full(s.C) + c, load(sums + full(s.C) + c) + error);
      }
      const float mean = sum_of(total) / (float)s.C, tilt = sum_of(product) / (float)s.C;
      for (int64_t c = 0; c < s.C; c += L) {
        const int64_t count = s.C - c;
        const vec x_hat = (load(from + c, count) - at.mu) * at.share;
        const vec d = load(gamma.typed_data() + c, count) * load(errors + c, count);
        store(dx->typed_data() + row * s.C + c, (d - mean - x_hat * tilt) * at.share, count);
      }
    }
  });
  return ffi::Error::Success();
}

// ------------------------------------------------------------------- GELU

// Phi(-x) = exp(-x^2 / 2) t p(t) with t = 1 / (1 + 0.3 x) for x >= 0; p fitted so that the relative error is below 2e-7.
struct Normal {     // the distribution function at z, and its density
  vec Phi, density;
  explicit Normal(vec z) {
    const vec x = z < 0 ? -z : z, t = 1 / (1 + 0.3f * x), E = exp_of(-0.5f * x * x);
    vec p = t * 0.0356752947f - 0.157205135f;
    p = p * t + 0.206356838f, p = p * t - 0.0536864996f, p = p * t + 0.128563017f, p = p * t + 0.0999131054f, p = p * t + 0.120754011f;
    p = (p * t + 0.119629294f) * t * E;
    Phi = z > 0 ? 1 - p : p, density = 0.398942280f * E;
  }
};

// b is empty where there is no bias.
static ffi::Error gelu(ffi::ThreadPool pool, In a, In b, Out h) {
  const Rows s(a);
  const bool biased = b.element_count() > 0;
  in_parts(pool, s.n, std::clamp<int64_t>(s.n / 32, 1, PARTS), [&](int64_t, int64_t row, int64_t end) {
    for (; row < end; ++row)
      for (int64_t c = 0; c < s.C; c += L) {
        const int64_t at = row * s.C + c, count = s.C - c;
        vec z = load(a.typed_data() + at, count);
        if (biased) z += load(b.typed_data() + c, count);
        store(h->typed_data() + at, z * Normal(z).Phi, count);
      }
  });
  return ffi::Error::Success();
}

static ffi::Error gelu_back(ffi::ThreadPool pool, In a, In b, In dh, Out da, Out db) {
  const Rows s(a);
  const bool biased = b.element_count() > 0;
  summed(pool, s, biased ? db->typed_data() : nullptr, nullptr, [&](int64_t row, int64_t end, float* sums) {
    for (; row < end; ++row)
      for (int64_t c = 0; c < s.C; c += L) {
        const int64_t at = row * s.C + c, count = s.C - c;
        vec z = load(a.typed_data() + at, count);
        if (biased) z += load(b.typed_data() + c, count);
        const Normal of(z);
        const vec error = load(dh.typed_data() + at, count) * (of.Phi + z * of.density);
        store(da->typed_data() + at, error, count);
        store(sums + c, load(sums + c) + error);
      }
  });
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
#define RESULT Ret<ffi::Buffer<ffi::F32>>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_forward, layer_forward, FFI.Arg<In>().Arg<In>().Arg<In>().RESULT.Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(layer_norm_backward, layer_backward, FFI.Arg<In>().Arg<In>().Arg<In>().RESULT.RESULT.RESULT.Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(gelu_forward, gelu, FFI.Arg<In>().Arg<In>().RESULT);
XLA_FFI_DEFINE_HANDLER_SYMBOL(gelu_backward, gelu_back, FFI.Arg<In>().Arg<In>().Arg<In>().RESULT.RESULT);
