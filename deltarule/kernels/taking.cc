// Rows of a table by their numbers: y[k] = x[which[k]], numbers of any kind, the table beginning `lead` numbers behind its address.
#include "vectors.h"

static ffi::Error take(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::Buffer<ffi::S32> lead, ffi::Buffer<ffi::S32> which,
                       ffi::Result<ffi::AnyBuffer> y, int64_t rows) {
  const int64_t count = (int64_t)which.element_count(), size = count > 0 ? (int64_t)y->size_bytes() / count : 0;     // of a row, in bytes
  const char* from = (const char*)x.untyped_data() + lead.typed_data()[0] * (int64_t)(x.size_bytes() / std::max<size_t>(1, x.element_count()));
  char* to = (char*)y->untyped_data();
  const int32_t* number = which.typed_data();
  const int64_t parts = std::clamp<int64_t>(count * size >> 17, 1, 2 * pool.num_threads());      // 128 KB each: less is not worth a thread
  in_parts(pool, count, parts, [=](int64_t, int64_t k, int64_t end) {
    auto row = [=](int64_t k) { return from + std::clamp<int64_t>(number[k], 0, rows - 1) * size; };
    for (; k < end; ++k) {
      if (k + 1 < end)
        for (int64_t i = 0; i < size; i += 64) __builtin_prefetch(row(k + 1) + i);
      std::memcpy(to + k * size, row(k), size);
    }
  });
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(take_rows, take, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<ffi::AnyBuffer>().Arg<ffi::Buffer<ffi::S32>>()
    .Arg<ffi::Buffer<ffi::S32>>().Ret<ffi::AnyBuffer>().Attr<int64_t>("rows"));
