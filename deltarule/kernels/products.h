// Products of matrices by blocks of rows, whose sums stay in registers until the caller has made something of them.
#pragma once
#include "functions.h"

// acc += A B for R rows of A, `down` apart, K numbers each, `along` apart, and K rows of B, `pitch` apart, V vectors each.
template <int R, int V>
static inline void multiply(vec (&acc)[R][V], const float* A, int64_t down, int64_t along, int64_t K, const float* B, int64_t pitch) {
  for (int64_t k = 0; k < K; ++k, A += along, B += pitch) {
    vec b[V];
    for (int v = 0; v < V; ++v) b[v] = load(B + v * L);
    for (int r = 0; r < R; ++r) {
      const vec a = each(A[r * down]);
      for (int v = 0; v < V; ++v) acc[r][v] += a * b[v];
    }
  }
}

template <int R> struct Count { static constexpr int value = R; };

// tile(first row, number of rows as a Count) for blocks of nearly equal size, none of more than `Most` rows.
template <int Most, class Tile>
static inline void one_block(int64_t row, int64_t rows, Tile& tile) {
  if constexpr (Most > 1) {
    if (rows < Most) return one_block<Most - 1>(row, rows, tile);
  }
  tile(row, Count<Most>());
}

template <int Most, class Tile>
static inline void in_blocks(int64_t rows, Tile tile) {
  const int64_t blocks = (rows + Most - 1) / Most;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t row = i * rows / blocks;
    one_block<Most>(row, (i + 1) * rows / blocks - row, tile);
  }
}

// A matrix cut into panels of V vectors: those of one panel are G gates of V / G vectors of units, so that all of a unit come together.
struct Panels {
  int64_t units, gates, vectors, K, number;
  Floats packed;
  Panels(int64_t units, int64_t gates, int64_t vectors, int64_t K)
      : units(units), gates(gates), vectors(vectors), K(K), number((units + wide() - 1) / wide()), packed(number * K * vectors * L, 0.f) {}
  int64_t wide() const { return vectors / gates * L; }      // units in a panel
  const float* panel(int64_t i, int64_t k = 0) const { return packed.data() + (i * K + k) * vectors * L; }
  // Rows k ... of panel i from M, whose element (row, column) lies at row * down + column * across.
  void pack(int64_t i, int64_t k, const float* M, int64_t rows, int64_t down, int64_t across) {
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t each = vectors / gates, unit = i * wide() + v % each * L, count = std::min<int64_t>(L, units - unit);
      const float* from = M + (v / each * units + unit) * across;
      float* to = packed.data() + ((i * K + k) * vectors + v) * L;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t c = 0; c < count; ++c) to[row * vectors * L + c] = from[row * down + c * across];
    }
  }
};
