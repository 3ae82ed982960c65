// Batch normalization of channels-last images, forward and backward, float32 (lecture row 23; Ioffe and Szegedy 2015).
//
//   x_hat = (x - mu) / sigma,   y = gamma x_hat + beta,   mu and sigma^2 of each channel over all pixels of the images that count
//   dbeta = sum dy,   dgamma = sum dy x_hat,   dx = gamma / sigma (dy - dbeta / m - x_hat dgamma / m),   m pixels that count
//
// With a ReLU behind it dy is zero where y was not above zero; what a shortcut brings (`plus`) may be added before it, and gets that dy.
// x is read twice in each direction, the second time from its end: what was read last is still in the cache.
#include <cmath>
#include "vectors.h"

struct Sizes { int64_t n, pixels, C; };     // x (n, pixels, C)

static Sizes sizes_of(const In& x) {
  const auto shape = x.dimensions();
  const int64_t n = shape[0], C = shape[shape.size() - 1];
  return {n, (int64_t)x.element_count() / std::max<int64_t>(1, n * C), C};
}

// Means and sums of squared differences from them, of `count` pixels; two of them become one (Chan, Golub and LeVeque 1983).
struct Moments {
  double count = 0;
  std::vector<double> mean, squares;
  explicit Moments(int64_t C) : mean(C, 0.), squares(C, 0.) {}
  void add(double more, const double* its_mean, const double* its_squares) {
    if (more == 0) return;
    const double total = count + more;
    for (size_t c = 0; c < mean.size(); ++c) {
      const double apart = its_mean[c] - mean[c];
      mean[c] += apart * more / total;
      squares[c] += its_squares[c] + apart * apart * count * more / total;
    }
    count = total;
  }
};

// Sums over the pixels of one image of f(vector, pixel's place), for the channels from c on.
template <class F>
static vec over_pixels(const Sizes& s, F f) {
  vec sums[4] = {};
  int64_t k = 0;
  for (; k + 4 <= s.pixels; k += 4)
    for (int i = 0; i < 4; ++i) sums[i] += f((k + i) * s.C);
  for (; k < s.pixels; ++k) sums[0] += f(k * s.C);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The mean in single precision is off by its rounding, which is seen in the sum of the differences from it, and taken away again: nothing
// is lost where the mean is large beside the spread.
static void moments_of(const Sizes& s, const float* x, double* mean, double* squares) {
  for (int64_t c = 0; c < s.C; c += L) {
    const int64_t count = std::min<int64_t>(L, s.C - c);
    const float* at = x + c;
    const vec middle = over_pixels(s, [=](int64_t k) { return load(at + k, count); }) / (float)s.pixels;
    vec rest = {};
    const vec spread = over_pixels(s, [&](int64_t k) {
      const vec apart = load(at + k, count) - middle;
      rest += apart;
      return apart * apart;
    });
    for (int64_t i = 0; i < count; ++i) {
      const double off = (double)rest[i] / (double)s.pixels;
      mean[c + i] = (double)middle[i] + off, squares[c + i] = (double)spread[i] - off * off * (double)s.pixels;
    }
  }
}

struct Scale {      // of L channels: y = (x - mean) gain + beta
  vec mean, gain, beta;
  vec of(vec x) const { return (x - mean) * gain + beta; }
};

static Scale scale_of(const float* mean, const float* variance, const float* gamma, const float* beta, float epsilon, int64_t c, int64_t C) {
  vec deviation = load(variance + c, C - c) + epsilon;
  for (int i = 0; i < L; ++i) deviation[i] = std::sqrt(deviation[i]);
  return {load(mean + c, C - c), load(gamma + c, C - c) / deviation, load(beta + c, C - c)};
}

// So many sums are added up, whatever the number of threads: their bits are the same.
static int64_t parts_of(int64_t n) { return std::clamp<int64_t>(n, 1, 64); }

// Every image, from the last to the first: work(image).
template <class F>
static void from_the_end(ffi::ThreadPool& pool, int64_t n, int64_t parts, F work) {
  in_parts(pool, n, parts, [=](int64_t, int64_t m, int64_t end) {
    for (; m < end; ++m) work(n - 1 - m);
  });
}

// `counted` (n) is 1 for the images that enter mean and variance, 0 for the others; empty: all do.
static ffi::Error forward(ffi::ThreadPool pool, In x, In gamma, In beta, In counted, In plus, Out y, Out mean, Out variance, float epsilon, bool relu) {
  const Sizes s = sizes_of(x);
  const int64_t parts = parts_of(s.n), size = s.pixels * s.C;
  const float* counts = counted.element_count() > 0 ? counted.typed_data() : nullptr;
  const bool adds = plus.element_count() > 0;
  std::vector<Moments> found(parts, Moments(s.C));
  in_parts(pool, s.n, parts, [&](int64_t part, int64_t m, int64_t end) {
    std::vector<double> middle(s.C), squares(s.C);
    for (; m < end; ++m) {
      if (counts && counts[m] == 0) continue;
      moments_of(s, x.typed_data() + m * size, middle.data(), squares.data());
      found[part].add((double)s.pixels, middle.data(), squares.data());
    }
  });
  Moments all(s.C);
  for (const Moments& part : found) all.add(part.count, part.mean.data(), part.squares.data());
  for (int64_t c = 0; c < s.C; ++c) {
    mean->typed_data()[c] = (float)all.mean[c];
    variance->typed_data()[c] = (float)(all.squares[c] / std::max(1., all.count));
  }
  std::vector<Scale> scales;
  for (int64_t c = 0; c < s.C; c += L)
    scales.push_back(scale_of(mean->typed_data(), variance->typed_data(), gamma.typed_data(), beta.typed_data(), epsilon, c, s.C));
  from_the_end(pool, s.n, parts, [&](int64_t image) {
    for (int64_t c = 0; c < s.C; c += L) {
      const Scale t = scales[c / L];
      const int64_t count = s.C - c;
      for (int64_t k = image * s.pixels; k < (image + 1) * s.pixels; ++k) {
        vec value = t.of(load(x.typed_data() + k * s.C + c, count));
        if (adds) value += load(plus.typed_data() + k * s.C + c, count);
        store(y->typed_data() + k * s.C + c, relu ? relu_of(value) : value, count);
      }
    }
  });
  return ffi::Error::Success();
}

// `y` is there where something was added: its ReLU is seen there alone. dplus is the dy that came through the ReLU.
static ffi::Error backward(ffi::ThreadPool pool, In x, In gamma, In beta, In counted, In mean, In variance, In y, In dy, Out dx, Out dgamma,
                           Out dbeta, Out dplus, float epsilon, bool relu) {
  const Sizes s = sizes_of(x);
  const int64_t parts = parts_of(s.n), size = s.pixels * s.C, Cp = full(s.C);
  const float* counts = counted.element_count() > 0 ? counted.typed_data() : nullptr;
  const bool added = y.element_count() > 0;
  std::vector<Scale> scales;
  for (int64_t c = 0; c < s.C; c += L)
    scales.push_back(scale_of(mean.typed_data(), variance.typed_data(), gamma.typed_data(), beta.typed_data(), epsilon, c, s.C));
  auto error = [=](const Scale& t, vec value, vec slope) { return relu && !added ? (t.of(value) > 0 ? slope : vec{}) : slope; };
  std::vector<double> slopes(parts * Cp, 0.), products(parts * Cp, 0.);      // sums of dy, and of dy (x - mean)
  in_parts(pool, s.n, parts, [&](int64_t part, int64_t m, int64_t end) {
    for (int64_t image = m; image < end; ++image)
      for (int64_t c = 0; c < s.C; c += L) {
        const Scale t = scales[c / L];
        const int64_t count = s.C - c;
        const float *from = x.typed_data() + image * size + c, *errors = dy.typed_data() + image * size + c;
        vec products_here = {};
        const vec slopes_here = over_pixels(s, [&](int64_t k) {
          const vec value = load(from + k, count);
          vec delta = error(t, value, load(errors + k, count));
          if (added) {
            const int64_t at = image * size + c + k;
            delta = load(y.typed_data() + at, count) > 0 ? delta : vec{};
            store(dplus->typed_data() + at, delta, count);
          }
          products_here += delta * (value - t.mean);
          return delta;
        });
        for (int i = 0; i < L; ++i) slopes[part * Cp + c + i] += slopes_here[i], products[part * Cp + c + i] += products_here[i];
      }
  });
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t c = 0; c < Cp; ++c) slopes[c] += slopes[part * Cp + c], products[c] += products[part * Cp + c];
  double images = s.n;
  if (counts) { images = 0; for (int64_t m = 0; m < s.n; ++m) images += counts[m] != 0; }
  const double m_all = std::max(1., images * (double)s.pixels);
  std::vector<float> shift(Cp, 0.f), tilt(Cp, 0.f);         // dbeta / m, and sum dy (x - mean) / (sigma^2 m)
  for (int64_t c = 0; c < s.C; ++c) {
    const double square = (double)variance.typed_data()[c] + epsilon;
    dbeta->typed_data()[c] = (float)slopes[c], dgamma->typed_data()[c] = (float)(products[c] / std::sqrt(square));
    shift[c] = (float)(slopes[c] / m_all), tilt[c] = (float)(products[c] / (square * m_all));
  }
  const float* errors = added ? dplus->typed_data() : dy.typed_data();
  from_the_end(pool, s.n, parts, [&](int64_t image) {
    const bool counts_too = !counts || counts[image] != 0;
    for (int64_t c = 0; c < s.C; c += L) {
      const Scale t = scales[c / L];
      const vec zero = {}, shifts = counts_too ? load(&shift[c]) : zero, tilts = counts_too ? load(&tilt[c]) : zero;
      const int64_t count = s.C - c;
      for (int64_t k = image * s.pixels; k < (image + 1) * s.pixels; ++k) {
        const vec value = load(x.typed_data() + k * s.C + c, count), delta = error(t, value, load(errors + k * s.C + c, count));
        store(dx->typed_data() + k * s.C + c, t.gain * (delta - shifts - (value - t.mean) * tilts), count);
      }
    }
  });
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(norm_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Ret<ffi::Buffer<ffi::F32>>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Attr<float>("epsilon").Attr<bool>("relu"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(norm_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Attr<float>("epsilon").Attr<bool>("relu"));
