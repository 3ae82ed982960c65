// Pooling of channels-last images, forward and backward, float32, two dimensions (lecture row 30).
//
//   y[p, q, c] = max over o of x[p s + i - top, q s + j - left, c], o = (i, j) inside the window and the image; or their mean
//
// Going back the error of a window goes to the first of its largest values, whose number was kept in one byte, or in equal parts to all.
#include "vectors.h"

struct Shape {      // x (n, H, W, C), windows kh x kw, y (n, P, Q, C)
  int64_t n, H, W, C, kh, kw, P, Q, top, left, sh, sw;
};

static Shape shape_of(const Numbers& g) { return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11]}; }

// The values of the window at (p, q) that lie inside the image: f(number in the window, place in the image).
template <class F>
static inline void window(const Shape& s, int64_t p, int64_t q, F f) {
  const int64_t u = p * s.sh - s.top, v = q * s.sw - s.left;
  for (int64_t i = std::max<int64_t>(0, -u); i < std::min(s.kh, s.H - u); ++i)
    for (int64_t j = std::max<int64_t>(0, -v); j < std::min(s.kw, s.W - v); ++j) f(i * s.kw + j, ((u + i) * s.W + v + j) * s.C);
}

static float share(const Shape& s, int64_t p, int64_t q) {
  int64_t values = 0;
  window(s, p, q, [&](int64_t, int64_t) { ++values; });
  return 1.f / (float)values;
}

static ffi::Error forward(ffi::ThreadPool pool, In x, Out y, OutBytes which, Numbers geometry) {
  const Shape s = shape_of(geometry);
  const bool largest = which->element_count() > 0;
  in_parts(pool, s.n, std::min<int64_t>(s.n, 8 * pool.num_threads()), [&](int64_t, int64_t m, int64_t end) {
    for (int64_t row = m * s.P; row < end * s.P; ++row)
      for (int64_t q = 0; q < s.Q; ++q) {
        const float *image = x.typed_data() + row / s.P * s.H * s.W * s.C, part = largest ? 0 : share(s, row % s.P, q);
        const int64_t to = (row * s.Q + q) * s.C;
        for (int64_t c = 0; c < s.C; c += L) {
          vec best = {};
          ints first = ints{} - 1;
          window(s, row % s.P, q, [&](int64_t o, int64_t at) {
            const vec value = load(image + at + c, s.C - c);
            if (!largest) { best += value; return; }
            const ints more = (first < 0) | (value > best) | (value != value);
            best = more ? value : best;
            first = more ? ints{} + (int32_t)o : first;
          });
          store(y->typed_data() + to + c, largest ? best : best * part, s.C - c);
          if (largest) store_bytes(which->typed_data() + to + c, first, s.C - c);
        }
      }
  });
  return ffi::Error::Success();
}

static ffi::Error backward(ffi::ThreadPool pool, InBytes which, In dy, Out dx, Numbers geometry) {
  const Shape s = shape_of(geometry);
  const bool largest = which.element_count() > 0;
  in_parts(pool, s.n, std::min<int64_t>(s.n, 8 * pool.num_threads()), [&](int64_t, int64_t m, int64_t end) {
    for (; m < end; ++m) {
      float* image = dx->typed_data() + m * s.H * s.W * s.C;
      std::memset(image, 0, s.H * s.W * s.C * sizeof(float));
      for (int64_t p = 0; p < s.P; ++p)
        for (int64_t q = 0; q < s.Q; ++q) {
          const int64_t from = ((m * s.P + p) * s.Q + q) * s.C;
          const float part = largest ? 0 : share(s, p, q);
          for (int64_t c = 0; c < s.C; c += L) {
            const vec error = load(dy.typed_data() + from + c, s.C - c);
            const ints first = largest ? load_bytes(which.typed_data() + from + c, s.C - c) : ints{};
            window(s, p, q, [&](int64_t o, int64_t at) {
              const vec here = largest ? (first == (int32_t)o ? error : vec{}) : error * part;
              store(image + at + c, load(image + at + c, s.C - c) + here, s.C - c);
            });
          }
        }
    }
  });
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(pool_forward, forward, FFI.Arg<In>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::U8>>()
    .Attr<Numbers>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(pool_backward, backward, FFI.Arg<InBytes>().Arg<In>().Ret<ffi::Buffer<ffi::F32>>().Attr<Numbers>("geometry"));
