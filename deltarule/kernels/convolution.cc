// Convolution of channels-last images, forward and backward, float32, two dimensions (lecture row 28).
//
//   y[p, q, f]    = b[f] + sum_ijc x[p s + i d - top, q s + j d - left, c] K[i, j, c, f]
//   dK[i, j, c, f] = sum_pq x[p s + i d - top, q s + j d - left, c] delta[p, q, f]
//   dx[u, v, c]    = sum_ijf delta[(u + top - i d) / s, (v + left - j d) / s, f] K[i, j, c, f]     where the divisions leave no rest
//
// All three are the same product in registers: values of x or delta, each times some vectors of L numbers. No matrix of patches is
// built. Rows outside the image are left out of the sums; only columns are filled up with zeros, in a copy of one image, in the cache.
// Kernels 3 or 5 columns wide that move by one pixel take fewer products (winograd.h), and so do few filters (neighbours.h).
// The ReLU or tanh and a pooling that follow are done while the rows are still in the cache, and undone where the errors come back.
#include "behind.h"
#include "neighbours.h"
#include "winograd.h"

// ------------------------------------------------------------------------------------------------ one image, forward

// The columns of an image that windows reach: with zeros on both sides, or as they are where none is needed.
struct Columns {
  int64_t H, W, C, left, width;
  explicit Columns(const Shape& s) : H(s.H), W(s.W), C(s.C), left(s.left), width(std::max(s.left + s.W, (s.Q - 1) * s.sw + (s.kw - 1) * s.dw + 1)) {}
  bool whole() const { return left == 0 && width == W; }
  int64_t row() const { return width * C; }
  int64_t size() const { return whole() ? 0 : H * row(); }
  const float* of(const float* image, Floats& room) const {
    if (whole()) return image;
    for (int64_t r = 0; r < H; ++r) std::memcpy(&room[r * row() + left * C], image + r * W * C, W * C * sizeof(float));
    return room.data();
  }
};

// Piece k of some numbers is on its way into the cache while others are worked on.
static void fetch(const float* from, int64_t count, int64_t k, int64_t pieces) {
  for (int64_t i = k * count / pieces & ~15; i < (k + 1) * count / pieces; i += 16) __builtin_prefetch(from + i, 0, 2);
}

struct Range { int64_t first, end; };

// The rows i of the kernel that lie inside the image in the windows of row p.
static Range inside(const Shape& s, int64_t p) {
  const int64_t from = s.top - p * s.sh;      // i d must be at least that, and below H more
  return {std::max<int64_t>(0, -below(-from, s.dh)), std::min(s.kh, below(s.H - 1 + from, s.dh) + 1)};
}

// `whole`: what is averaged, where the way back needs it; else empty.
static ffi::Error forward(ffi::ThreadPool pool_of_threads, In x, In K, In b, Out y, OutBytes which, Out whole, Numbers geometry,
                          int64_t activation, bool averages) {
  const Shape s = shape_of(geometry);
  const bool keeps = whole->element_count() > 0, early = !s.pooled() || averages;       // g is taken before the pooling
  const bool fast = Winograd::pays(s), apart = s.pooled() && !keeps;      // apart: rows lie in a room of their own until they are pooled
  const Neighbours near(s, fast);
  const Shape& j = near.joined;
  const Columns columns(j);
  const int64_t Fp = full(j.F), row = columns.row(), pixels = s.H * s.W * s.C, P = s.P / s.ph, out = P * (s.Q / s.pw) * s.F;
  const int64_t pixel = apart && near.N == 1 ? Fp : s.F, wide = (apart ? j.Q * near.N : s.Q) * pixel;
  const Floats weights = Fp == s.F ? Floats() : near.take(K.typed_data());
  Floats bias(Fp, 0.f);
  for (int64_t m = 0; m < near.N; ++m) std::memcpy(&bias[m * s.F], b.typed_data(), b.element_count() * sizeof(float));
  std::vector<Tap> taps;
  for (int64_t i = 0; i < j.kh; ++i)
    for (int64_t k = 0; k < j.kw; ++k) taps.push_back({i * j.dh * row + k * j.dw * j.C, (i * j.kw + k) * j.C * Fp});
  const Line t = {j.sw * j.C, near.N * pixel, j.C, apart ? Fp : j.F, Fp, j.sw == 1 && j.dw == 1 ? j.kw : 1,
                  Fp == s.F ? K.typed_data() : weights.data(), bias.data(), activation == RELU && early};
  const int64_t count = apart ? (s.Q / s.pw * s.pw + near.N - 1) / near.N : s.Q / near.N;
  Line rest = t;              // the pixels that are left over at the end of a row
  rest.F = apart ? 0 : s.Q % near.N * s.F;
  const std::vector<int64_t> window = window_of(s, wide, pixel);
  const std::unique_ptr<Winograd> winograd(fast ? new Winograd(s.kh, s.kw, s.C, Fp, s.Q) : nullptr);
  if (winograd) winograd->take(t.K);
  in_parts(pool_of_threads, s.n, std::min(s.n, 8 * pool_of_threads.num_threads()), [&](int64_t, int64_t m, int64_t end) {
    Floats room(winograd ? 0 : columns.size(), 0.f), sums, rows(apart ? s.ph * wide + L : 0);
    for (; m < end; ++m) {
      const float* from = x.typed_data() + m * pixels;
      float* to = y->typed_data() + m * out;
      float* all = keeps ? whole->typed_data() + m * s.P * s.Q * s.F : s.pooled() ? nullptr : to;
      auto row_at = [&](int64_t p) { return all ? all + p * s.Q * s.F : &rows[p % s.ph * wide]; };
      if (keeps) std::memset(all + P * s.ph * s.Q * s.F, 0, (s.P - P * s.ph) * s.Q * s.F * sizeof(float));
      auto done = [&](int64_t p) {
        if (m + 1 < end) fetch(from + pixels, pixels, p, P * s.ph);
        if (activation == TANH && early) bend(row_at(p), s.Q * s.F);
        if (!s.pooled() || p % s.ph != s.ph - 1) return;
        const int64_t at = p / s.ph * (s.Q / s.pw) * s.F;
        if (averages) return average(s, window, row_at(p + 1 - s.ph), pixel, to + at);
        pool(s, window, rows.data(), pixel, activation == RELU, to + at, which->typed_data() + m * out + at);
        if (activation == TANH) bend(to + at, s.Q / s.pw * s.F);
      };
      if (winograd) {
        winograd->run({from, s.W * s.C, s.C, s.H, s.W, s.C}, s.top, s.left, P * s.ph, room, sums,
                      [&](int64_t p, const float* found, int64_t further, const Winograd::Patch& patch) {
          winograd->outputs(found, further, patch, t.F, bias.data(), t.relu, row_at(p), t.out);
          if (patch.t + patch.count == winograd->tiles) done(p);
        });
        continue;
      }
      const float* image = columns.of(from, room);
      for (int64_t p = 0; p < P * s.ph; ++p) {
        const Range i = inside(s, p);
        const Tap *tap = taps.data() + i.first * j.kw, *stop = taps.data() + std::max(i.first, i.end) * j.kw;
        const float* at = image + (p * s.sh - s.top) * row;
        row_of(t, tap, stop, at, row_at(p), count);
        if (rest.F > 0) row_of(rest, tap, stop, at + count * t.step, row_at(p) + count * t.out, 1);
        done(p);
      }
    }
  });
  return ffi::Error::Success();
}

// ------------------------------------------------------------------------------------------------ one image, backward

// dK of images of one channel: all KH x KW places of the kernel at once, rows of x `row` apart.
template <int KH, int KW, int V>
static void weigh_whole(const Sum& t, int64_t row, const float* x, const float* delta, float* dK) {
  vec acc[KH * KW][V] = {};
  for (int64_t p = 0; p < t.rows; ++p) {
    const float *at = x + p * t.down, *d = delta + p * t.row;
    for (int64_t q = 0; q < t.Q; ++q, at += t.step, d += t.pixel) {
      vec slope[V];
      for (int v = 0; v < V; ++v) slope[v] = load(d + v * L);
#pragma GCC unroll 5
      for (int i = 0; i < KH; ++i)
#pragma GCC unroll 6
        for (int j = 0; j < KW; ++j)
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) acc[i * KW + j][v] += at[i * row + j] * slope[v];
    }
  }
  for (int k = 0; k < KH * KW; ++k)
    for (int v = 0; v < V; ++v) store(dK + k * t.Fp + v * L, load(dK + k * t.Fp + v * L) + acc[k][v]);
}

typedef void Whole(const Sum&, int64_t, const float*, const float*, float*);
static Whole* whole_of(const Shape& s) {
  static constexpr struct { int64_t kh, kw, vectors; Whole* whole; } known[] = {
    {3, 3, 1, weigh_whole<3, 3, 1>}, {3, 4, 1, weigh_whole<3, 4, 1>}, {3, 3, 2, weigh_whole<3, 3, 2>},
    {5, 5, 1, weigh_whole<5, 5, 1>}, {5, 6, 1, weigh_whole<5, 6, 1>}};
  for (const auto& k : known) {
    const bool fits = k.vectors * k.kh * k.kw + 2 <= ALL_REGISTERS;       // one for delta, one for x
    if (fits && s.C == 1 && s.dh == 1 && s.dw == 1 && k.kh == s.kh && k.kw == s.kw && k.vectors * L == full(s.F)) return k.whole;
  }
  return nullptr;
}

// In the next three functions neighbouring pixels may count as one, e.many together (neighbours.h): s is the joined convolution.
//
// dK (kh, kw, C, Fp) += the share of rows `from` ... `to` - 1 of one image. Some 24 KB of delta at a time stay in the first-level cache; with
// neighbouring columns (dw = 1) the values of a row of the window lie side by side and count as one.
static void weigh_rows(const Shape& s, const float* x, int64_t x_row, const float* delta, const Errors& e, float* dK, int64_t from, int64_t to) {
  const int64_t Fp = full(s.F), room = std::max<int64_t>(16, 6000 / Fp);
  const int64_t rows = std::max<int64_t>(1, room / s.Q), some = std::min(room, s.Q);
  const int64_t joined = s.dw == 1 ? s.kw : 1;
  for (int64_t p = from; p < to; p += rows)
    for (int64_t q = 0; q < s.Q; q += some)
      for (int64_t i = 0; i < s.kh; ++i) {
        const int64_t first = std::max(p, -below(i * s.dh - s.top, s.sh));      // rows whose value under row i of the kernel is there
        const int64_t end = std::min({p + rows, to, below(s.H - 1 + s.top - i * s.dh, s.sh) + 1});
        if (first >= end) continue;
        const Sum t = {s.sh * x_row, s.sw * s.C, end - first, std::min(some, s.Q - q), e.row(), e.many * e.F, Fp};
        for (int64_t j = 0; j < s.kw; j += joined) {
          const float* at = x + (first * s.sh + i * s.dh - s.top) * x_row + (q * s.sw + j * s.dw) * s.C;
          const float* d = delta + first * e.row() + (e.left + q * e.many) * e.F;
          weigh_filters(t, at, d, dK + (i * s.kw + j) * s.C * Fp, joined * s.C);
        }
      }
}

// dK += the share of one image.
static void weigh_image(const Shape& s, const float* x, int64_t x_row, const float* delta, const Errors& e, float* dK) {
  int64_t first = 0, end = 0;           // rows whose whole window lies inside the image, where all of it is taken at once
  const int64_t Fp = full(s.F);
  if (Whole* whole = whole_of(s)) {
    first = std::min(s.P, (s.top + s.sh - 1) / s.sh), end = std::max(first, std::min(s.P, below(s.H - s.kh + s.top, s.sh) + 1));
    const Sum t = {s.sh * x_row, s.sw, end - first, s.Q, e.row(), e.many * e.F, Fp};
    whole(t, x_row, x + (first * s.sh - s.top) * x_row, delta + first * e.row() + e.left * e.F, dK);
  }
  weigh_rows(s, x, x_row, delta, e, dK, 0, first);
  weigh_rows(s, x, x_row, delta, e, dK, end, s.P);
}

// db[f] += sum over pixels of delta[f].
static void add_up(const Shape& s, const float* delta, const Errors& e, float* db) {
  for (int64_t f = 0; f < s.F; f += L) {
    vec sums[4] = {};
    for (int64_t p = 0; p < s.P; ++p) {
      const float* d = delta + p * e.row() + e.left * e.F + f;
      for (int64_t q = 0; q < s.Q; q += 4)
        for (int64_t k = 0; k < 4; ++k) if (q + k < s.Q) sums[k] += load(d + (q + k) * e.many * e.F);
    }
    store(db + f, load(db + f) + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
}

// The pixels of dx that lie a stride apart see the same places of the kernel: (rows a, a + sh, ...) x (columns b, b + sw, ...).
struct Phase {
  int64_t a, b, across;         // its first row and column, and how many columns it has
  std::vector<int64_t> rows;    // of the kernel, and for each of them its row of delta, seen from the phase's first row of dx
  std::vector<int64_t> shifts;
  std::vector<Tap> taps;        // for each of these rows all its columns
  int64_t columns;
};

static std::vector<Phase> phases_of(const Shape& s, const Errors& e, int64_t Cp) {
  std::vector<Phase> phases;
  for (int64_t a = 0; a < std::min(s.sh, s.H); ++a)
    for (int64_t b = 0; b < std::min(s.sw, s.W); ++b) {
      Phase phase = {a, b, (s.W - b + s.sw - 1) / s.sw, {}, {}, {}, 0};
      for (int64_t i = 0; i < s.kh; ++i) {
        if ((a + s.top - i * s.dh) % s.sh) continue;
        phase.rows.push_back(i), phase.shifts.push_back((a + s.top - i * s.dh) / s.sh);
        phase.columns = 0;
        for (int64_t j = s.kw - 1; j >= 0; --j) {       // from the left of delta to the right
          if ((b + s.left - j * s.dw) % s.sw) continue;
          phase.taps.push_back({phase.shifts.back() * e.row() + (e.left + (b + s.left - j * s.dw) / s.sw) * e.F, (i * s.kw + j) * s.F * Cp});
          ++phase.columns;
        }
      }
      phases.push_back(phase);
    }
  return phases;
}

// dx of one image: each phase is a convolution of delta with some places of the kernel.
static void spread(const Shape& s, const Line& t, const std::vector<Phase>& phases, const float* delta, int64_t row, float* dx) {
  for (const Phase& phase : phases)
    for (int64_t m = 0, u = phase.a; u < s.H; ++m, u += s.sh) {
      int64_t first = 0, end = (int64_t)phase.rows.size();
      while (first < end && m + phase.shifts[first] >= s.P) ++first;
      while (first < end && m + phase.shifts[end - 1] < 0) --end;
      row_of(t, phase.taps.data() + first * phase.columns, phase.taps.data() + end * phase.columns, delta + m * row,
             dx + (u * s.W + phase.b) * s.C, phase.across);
    }
}

// dx where a pixel has few channels, most of a vector would be idle, and windows lie side by side: the products of delta with whole
// rows of the kernel, kw C numbers, are worked out first for a row of dx, and each of its pixels gathers its own.
struct Painted {
  int64_t wide;                                 // kw C, in whole vectors
  Floats weights;                               // (kh, F, wide)
  Painted(const Shape& s, const float* K) : wide(full(s.kw * s.C)), weights(s.kh * s.F * wide, 0.f) {
    for (int64_t i = 0; i < s.kh; ++i)
      for (int64_t k = 0; k < s.kw * s.C; ++k)
        for (int64_t f = 0; f < s.F; ++f) weights[(i * s.F + f) * wide + k] = K[(i * s.kw * s.C + k) * s.F + f];
  }
  static bool pays(const Shape& s) {            // fewer products of vectors, by a half at least
    const int64_t others = s.H * s.W * s.kh * s.kw * full(s.C), own = s.P * s.Q * s.kh * full(s.kw * s.C);
    return s.C < L && s.sh == 1 && s.sw == 1 && s.dw == 1 && 2 * own <= others;
  }
  void spread(const Shape& s, const Errors& e, const float* delta, Floats& row, float* dx) const {
    const Line t = {e.F, wide, s.F, wide, wide, 1, weights.data(), nullptr, false};
    std::vector<Tap> taps;
    for (int64_t i = 0; i < s.kh; ++i) taps.push_back({(s.top - i * s.dh) * e.row() + e.left * e.F, i * s.F * wide});
    for (int64_t u = 0; u < s.H; ++u) {
      const int64_t from = std::max<int64_t>(0, below(u + s.top - s.P, s.dh) + 1), to = std::min(s.kh, (u + s.top) / s.dh + 1);
      row_of(t, taps.data() + from, taps.data() + std::max(from, to), delta + u * e.row(), row.data(), s.Q);
      for (int64_t v = 0; v < s.W; ++v, dx += s.C) {
        vec sum = {};
        const int64_t first = std::max<int64_t>(0, v + s.left - s.Q + 1), end = std::min(s.kw, v + s.left + 1);
        for (int64_t j = first; j < end; ++j) sum += load(&row[(v + s.left - j) * wide + j * s.C]);
        store(dx, sum, s.C);
      }
    }
  }
};

// What is not wanted is not touched: x serves dK alone, K serves dx alone, h the activation alone (what was averaged, or the outputs), `which`
// the pooling of the largest alone, and may be empty.
static ffi::Error backward(ffi::ThreadPool pool, In x, In K, In h, InBytes which, In dh, Out dx, Out dK, Out db, Numbers geometry,
                           int64_t activation, bool averages) {
  const Shape s = shape_of(geometry);
  const bool fast = Winograd::pays(s);
  const Neighbours near(s, fast);
  const Shape& j = near.joined;
  const Columns columns(j);
  const Errors e(s, near.N, !fast);
  const bool wants_dx = dx->element_count() > 0, wants_dK = dK->element_count() > 0;
  const int64_t Cp = full(s.C), Fp = full(j.F), out = (s.P / s.ph) * (s.Q / s.pw) * s.F, known = (int64_t)h.element_count() / std::max<int64_t>(1, s.n);
  const bool paints = wants_dx && Painted::pays(s), turns = wants_dx && !paints;
  const std::unique_ptr<Painted> painted(paints ? new Painted(s, K.typed_data()) : nullptr);
  Floats turned(turns ? s.taps() * s.F * Cp : 0, 0.f);
  for (int64_t k = 0; turns && k < s.taps(); ++k)
    for (int64_t c = 0; c < s.C; ++c)
      for (int64_t f = 0; f < s.F; ++f) turned[((fast ? s.taps() - 1 - k : k) * s.F + f) * Cp + c] = K.typed_data()[(k * s.C + c) * s.F + f];
  const std::vector<Phase> phases = turns && !fast ? phases_of(s, e, Cp) : std::vector<Phase>();
  Winograd there(s.kh, s.kw, s.C, Fp, s.Q), back(s.kh, s.kw, s.F, Cp, s.W);
  if (turns && fast) back.take(turned.data());
  const Line t = {e.F, s.sw * s.C, s.F, s.C, Cp, s.sw == 1 && s.dw == 1 ? s.kw : 1, turned.data(), nullptr, false};
  const std::vector<int64_t> window = window_of(s, e.row(), e.F);
  const bool ready = known == 0 && !s.pooled() && Fp == s.F && e.width == s.Q;     // dh can be taken as it is
  const int64_t parts = std::clamp<int64_t>(s.n, 1, pool.num_threads() * 2), places = fast ? s.kh * there.points : j.taps();
  const int64_t size = wants_dK ? (places * s.C + 1) * Fp : 0;      // dK, then db
  Floats sums(parts * size, 0.f);
  const int64_t pixels = s.H * s.W * s.C;
  in_parts(pool, s.n, parts, [&](int64_t part, int64_t m, int64_t end) {
    Floats room(fast ? 0 : columns.size(), 0.f), slopes, own(ready ? 0 : e.size(s), 0.f);
    Floats row(paints ? s.Q * painted->wide + L : 0);
    for (; m < end; ++m) {
      const float *errors = dh.typed_data() + m * out, *delta = ready ? errors : own.data();
      const float* here = known ? h.typed_data() + m * known : nullptr;
      if (s.pooled() && averages) errors_of_averages(s, e, errors, here, activation, own.data());
      else if (s.pooled()) errors_of_pooled(s, e, window, errors, here, activation, which.typed_data() + m * out, own.data());
      else if (!ready) errors_of(s, e, errors, here, activation, own.data());
      if (wants_dK) {
        float* mine = &sums[part * size];
        const float* image = x.typed_data() + m * pixels;
        if (db->element_count() > 0) add_up(j, delta, e, mine + places * s.C * Fp);
        if (fast) there.weigh({image, s.W * s.C, s.C, s.H, s.W, s.C}, s.top, s.left, s.P, delta + e.left * s.F, e.row(), s.F, room, slopes, mine);
        else weigh_image(j, columns.of(image, room), columns.row(), delta, e, mine);
      }
      float* to = dx->typed_data() + (wants_dx ? m * pixels : 0);
      if (paints) painted->spread(s, e, delta, row, to);
      if (turns && !fast) spread(s, t, phases, delta, e.row(), to);
      if (turns && fast)
        back.run({delta + e.left * s.F, e.row(), s.F, s.P, s.Q, s.F}, s.kh - 1 - s.top, s.kw - 1 - s.left, s.H, room, slopes,
                 [&](int64_t u, const float* found, int64_t further, const Winograd::Patch& patch) {
          back.outputs(found, further, patch, s.C, nullptr, false, to + u * s.W * s.C, s.C);
          if (m + 1 == end || patch.t + patch.count < back.tiles) return;
          fetch(errors + out, out, u, s.H);
          if (wants_dK) fetch(x.typed_data() + (m + 1) * pixels, pixels, u, s.H);
          if (known) fetch(here + known, known, u, s.H);
        });
    }
  });
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t k = 0; k < size; ++k) sums[k] += sums[part * size + k];
  if (!wants_dK) return ffi::Error::Success();
  Floats found(fast ? s.taps() * s.C * Fp : 0);
  if (fast) there.give(sums.data(), found.data());
  near.give(fast ? found.data() : sums.data(), dK->typed_data());
  if (db->element_count() > 0) near.gather(&sums[places * s.C * Fp], db->typed_data());
  return ffi::Error::Success();
}

#define FFI ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
XLA_FFI_DEFINE_HANDLER_SYMBOL(conv_forward, forward, FFI.Arg<In>().Arg<In>().Arg<In>().Ret<ffi::Buffer<ffi::F32>>()
    .Ret<ffi::Buffer<ffi::U8>>().Ret<ffi::Buffer<ffi::F32>>().Attr<Numbers>("geometry").Attr<int64_t>("activation").Attr<bool>("averages"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(conv_backward, backward, FFI.Arg<In>().Arg<In>().Arg<In>().Arg<InBytes>().Arg<In>()
    .Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Ret<ffi::Buffer<ffi::F32>>().Attr<Numbers>("geometry")
    .Attr<int64_t>("activation").Attr<bool>("averages"));
