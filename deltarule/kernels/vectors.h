// What all kernels share: vectors of L floats, and work split over XLA's threads.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#include "xla/ffi/api/ffi.h"
namespace ffi = xla::ffi;

#if defined(__AVX512F__)
constexpr int L = 16, REGISTERS = 24;       // floats in a vector; vectors that a block may sum up in registers, of 32
#elif defined(__AVX2__)
constexpr int L = 8, REGISTERS = 12;        // of 16
#else
constexpr int L = 4, REGISTERS = 24;        // NEON has 32; SSE2, which has 16, keeps some of them in the first-level cache
#endif
constexpr int ALL_REGISTERS = REGISTERS / 3 * 4;      // those in which nothing else lies included
typedef float vec __attribute__((vector_size(L * sizeof(float)), aligned(4)));
typedef int32_t ints __attribute__((vector_size(L * sizeof(int32_t)), aligned(4)));
typedef uint8_t bytes __attribute__((vector_size(L), aligned(1)));

typedef ffi::Buffer<ffi::F32> In;
typedef ffi::ResultBuffer<ffi::F32> Out;
typedef ffi::Buffer<ffi::U8> InBytes;
typedef ffi::ResultBuffer<ffi::U8> OutBytes;
typedef ffi::Span<const int64_t> Numbers;

// Numbers that begin where a line of the cache does, so that no vector lies in two.
template <class T>
struct Aligned {
  typedef T value_type;
  Aligned() = default;
  template <class U> Aligned(const Aligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* at, size_t) { ::operator delete(at, std::align_val_t(64)); }
  friend bool operator==(const Aligned&, const Aligned&) { return true; }
  friend bool operator!=(const Aligned&, const Aligned&) { return false; }
};
typedef std::vector<float, Aligned<float>> Floats;

static inline int64_t full(int64_t n) { return (n + L - 1) / L * L; }      // n numbers in whole vectors
static inline vec load(const float* from) { return *(const vec*)from; }
static inline void store(float* to, vec value) { *(vec*)to = value; }

// The first `count` numbers, 1 to L; what lies behind them is not touched, and read as zero.
static inline vec load(const float* from, int64_t count) {
  if (count >= L) return load(from);
#if defined(__AVX512F__)
  return (vec)_mm512_maskz_loadu_ps((1u << count) - 1, from);
#else
  vec value = {};
  std::memcpy(&value, from, count * sizeof(float));
  return value;
#endif
}

static inline void store(float* to, vec value, int64_t count) {
  if (count >= L) return store(to, value);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, (1u << count) - 1, (__m512)value);
#else
  std::memcpy(to, &value, count * sizeof(float));
#endif
}

// The first `count` small whole numbers in bytes.
static inline void store_bytes(uint8_t* to, ints value, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_cvtepi32_storeu_epi8(to, count >= L ? 0xFFFF : (1u << count) - 1, (__m512i)value);
#else
  const bytes small = __builtin_convertvector(value, bytes);
  std::memcpy(to, &small, std::min<int64_t>(L, count));
#endif
}

static inline ints load_bytes(const uint8_t* from, int64_t count) {
#if defined(__AVX512F__)
  return (ints)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(count >= L ? 0xFFFF : (1u << count) - 1, from));
#else
  bytes small = {};
  std::memcpy(&small, from, std::min<int64_t>(L, count));
  return __builtin_convertvector(small, ints);
#endif
}

// max(a, 0), and what is not a number stays so.
static inline vec relu_of(vec a) { return a <= 0 ? vec{} : a; }

// Who draws the numbers runs this same code, whichever thread it is: inlined in two places, the compiler may join a product and a sum into
// one rounding here and not there, and the last bit would tell who was first.
#if defined(__clang__)
#define ONE_COPY __attribute__((noinline))
#else
#define ONE_COPY __attribute__((noinline, noclone))
#endif
struct Turns { std::atomic<int64_t> next{0}, done{0}; };

template <class F>
ONE_COPY static void take_turns(Turns& turns, int64_t tasks, F& work) {
  for (int64_t t; (t = turns.next.fetch_add(1)) < tasks;) { work(t); turns.done.fetch_add(1); }
}

// Work shared by XLA's threads and the calling one: numbers are drawn until none is left, so nobody waits for a thread that never came.
template <class F>
static void in_parallel(ffi::ThreadPool& pool, int64_t tasks, F work) {
  auto turns = std::make_shared<Turns>();
  auto run = [turns, tasks, work]() mutable { take_turns(*turns, tasks, work); };
  const int64_t helpers = std::min<int64_t>(tasks, pool.num_threads()) - 1;
  for (int64_t k = 0; k < helpers; ++k) pool.Schedule(decltype(run)(run));
  run();
  while (turns->done.load() < tasks) std::this_thread::yield();
}

// The same for the images 0 ... n - 1 in `parts` runs of neighbours: work(part, first, last + 1).
template <class F>
static void in_parts(ffi::ThreadPool& pool, int64_t n, int64_t parts, F work) {
  in_parallel(pool, parts, [=](int64_t part) mutable { work(part, part * n / parts, (part + 1) * n / parts); });
}
