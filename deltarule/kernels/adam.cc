// Adam's averages and its direction, each number of the gradient read once and written once, float32 (Kingma and Ba 2015, algorithm 1).
//
//   m <- beta1 m + (1 - beta1) g,   s <- beta2 s + (1 - beta2) g^2,   d = gain m / (share sqrt(s) + epsilon)
//
// All three take the place of what they were made from.
#include <cmath>
#include "vectors.h"
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

static inline vec root(vec a) {
#if defined(__AVX512F__)
  return (vec)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX2__)
  return (vec)_mm256_sqrt_ps((__m256)a);
#elif defined(__SSE2__)
  return (vec)_mm_sqrt_ps((__m128)a);
#elif defined(__aarch64__)
  return (vec)vsqrtq_f32((float32x4_t)a);
#else
  for (int i = 0; i < L; ++i) a[i] = std::sqrt(a[i]);
  return a;
#endif
}

constexpr int64_t SETTINGS = 7, PART = 1 << 13;     // numbers below which a thread is not worth waking

// `settings` (members, 7): beta1, 1 - beta1, beta2, 1 - beta2, gain, share, epsilon; the others (members, ...).
static ffi::Error adam(ffi::ThreadPool pool, In g, In m, In s, In settings, Out d, Out next_m, Out next_s) {
  const int64_t members = (int64_t)settings.element_count() / SETTINGS, n = members > 0 ? (int64_t)g.element_count() / members : 0;
  const int64_t parts = std::clamp<int64_t>(n / PART, 1, 4 * std::max<int64_t>(1, pool.num_threads()));
  const float *gs = g.typed_data(), *ms = m.typed_data(), *ss = s.typed_data(), *all = settings.typed_data();
  float *to_d = d->typed_data(), *to_m = next_m->typed_data(), *to_s = next_s->typed_data();
  for (int64_t member = 0; member < members; ++member) {
    const float* of = all + member * SETTINGS;
    const float beta1 = of[0], rest1 = of[1], beta2 = of[2], rest2 = of[3], gain = of[4], share = of[5], epsilon = of[6];
    in_parts(pool, n, parts, [=](int64_t, int64_t begin, int64_t end) {
      for (int64_t k = member * n + begin; k < member * n + end; k += L) {
        const int64_t count = member * n + end - k;
        const vec slope = load(gs + k, count);
        const vec mean = beta1 * load(ms + k, count) + rest1 * slope, square = beta2 * load(ss + k, count) + rest2 * (slope * slope);
        store(to_m + k, mean, count), store(to_s + k, square, count);
        store(to_d + k, gain * mean / (share * root(square) + epsilon), count);
      }
    });
  }
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(adam_direction, adam, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>());
