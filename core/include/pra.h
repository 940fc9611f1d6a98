/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pra.h
 * The Prometheus remote storage API in C: remote write and remote read, server and client side.
 *
 * Model
 * - Sans-IO. Nothing here opens a socket, starts a thread or reads a clock. Bytes go in, bytes come
 * out; the host (libpra_server, a WSGI adapter, your event loop) moves them.
 * - Columns. A decoded request is a handful of flat arrays. A string is a span (offset, length)
 * into one base buffer, so reading a request costs a foreign-function user one call, not one per
 * label.
 * - Explicit memory. Every handle takes an allocator. A handle that has seen a request of a size
 * decodes the next one of that size without allocating. Budgets are checked before memory is taken.
 * - Threads. One handle, one thread at a time; different handles in parallel. pra_handler is the
 * exception: immutable after creation, shared by any number of pra_exchange; a pra_write_request
 * becomes one by pra_write_request_share. No globals, no thread-local state, no start-up call.
 *
 * Words used for ownership
 * - "borrows until X": the caller keeps the memory alive and unchanged until X.
 * - "copies": the caller may free the memory when the call returns.
 * - "returns new (free with Y)", "valid until Z": as they say.
 * A pointer may be NULL only where the text says so, or where its length is 0.
 *
 * Errors
 * - int results: 0 (PRA_OK), small positive values where documented, or a negative PRA_ERR_ code.
 * Codes are pinned and never reused. Every function that can be handed a wrong pointer or a wrong
 * call order may return PRA_ERR_INVALID_ARG or PRA_ERR_STATE, every one that allocates
 * PRA_ERR_NOMEM; the lists below name only what else can happen.
 * - pra_error is owned by the caller and optional. When a function fails, its outputs are left
 * untouched.
 *
 * Caveats
 * - Strings are (pointer, length) and may contain NUL bytes. Nothing is NUL-terminated unless its
 * name says cstr.
 * - Timestamps are int64_t milliseconds since the Unix epoch. A stale marker and other NaNs are
 * told apart by bit pattern: compare bits (pra_is_stale), never values.
 * - Handles must not be used again inside a callback they caused: the call returns PRA_ERR_BUSY.
 *
 * Rule ids in brackets ([W-08], [R-06]) are explained in the README's table of protocol rules.
 */
#ifndef PRA_H
#define PRA_H

#ifndef PRA_CDEF /* defined while the text for FFI parsers is generated */
#include <stddef.h>
#include <stdint.h>
#if defined(_WIN32) && !defined(PRA_STATIC)
#ifdef PRA_BUILDING
#define PRA_API __declspec(dllexport)
#else
#define PRA_API __declspec(dllimport)
#endif
#elif defined(__GNUC__) && !defined(PRA_STATIC)
#define PRA_API __attribute__((visibility("default")))
#else
#define PRA_API
#endif
#else
#define PRA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ── Version ─────────────────────────────────────────────────────────────────────────────────── */

/** Version of this header; the version of the library at run time is pra_version_number(). */
enum { PRA_VERSION_MAJOR = 0, PRA_VERSION_MINOR = 1, PRA_VERSION_PATCH = 0 };

/** "major.minor.patch", NUL-terminated, static. */
PRA_API const char *pra_version_cstr(void);
/** major * 10000 + minor * 100 + patch of the library in use. */
PRA_API uint32_t pra_version_number(void);

/* ── Status codes ────────────────────────────────────────────────────────────────────────────── */

enum {
    PRA_OK = 0,
    PRA_DONE = 1, /**< documented small positive: "finished early", "no more" */

    /* calling */
    PRA_ERR_INVALID_ARG = -1001, /**< an argument is outside its documented domain */
    PRA_ERR_STATE = -1002,       /**< the call is not allowed now (wrong order) */
    PRA_ERR_BUSY = -1003,        /**< the handle is in use: re-entry from a callback, or shared */
    PRA_ERR_NOMEM = -1004,       /**< the allocator returned NULL; 503 */
    PRA_ERR_UNSUPPORTED_OPTION =
        -1005, /**< an options struct is from a newer header and uses what is unknown here */
    PRA_ERR_NOT_SUPPORTED = -1006, /**< not in this build, or the storage has no such entry; 404 */

    /* HTTP rules */
    PRA_ERR_METHOD = -1020,           /**< not POST; 405 [W-01] */
    PRA_ERR_PATH = -1021,             /**< neither a write nor a read path; 404 */
    PRA_ERR_CONTENT_TYPE = -1022,     /**< 415 [W-03] */
    PRA_ERR_CONTENT_ENCODING = -1023, /**< 415 [W-02] */
    PRA_ERR_BODY_TOO_LARGE = -1024,   /**< compressed body over max_body_bytes; 413 [W-08] */
    PRA_ERR_BODY_INCOMPLETE = -1025,  /**< fewer bytes than Content-Length announced; 400 */
    PRA_ERR_HEAD_TOO_LARGE = -1026,   /**< request line and headers over max_head_bytes; 431 */

    /* wire */
    PRA_ERR_SNAPPY = -1040, /**< not a snappy block, or corrupt; 400 */
    PRA_ERR_SNAPPY_RATIO =
        -1041, /**< declares more than a snappy block of this size can hold; 400 */
    PRA_ERR_DECODED_TOO_LARGE = -1042, /**< declared length over max_decoded_bytes; 400 [W-08] */
    PRA_ERR_PROTO = -1043,             /**< malformed protocol buffer; 400 */
    PRA_ERR_MEMORY_BUDGET = -1044,     /**< decoded structures over max_memory_bytes; 413 */
    PRA_ERR_FRAME = -1045,             /**< malformed frame of a streamed answer */

    /* data */
    PRA_ERR_LABELS = -1060, /**< empty or repeated label name, invalid UTF-8, no metric name; 400
                               [W-30] [W-32] */
    PRA_ERR_LABEL_COUNT = -1061,        /**< more than max_labels_per_series; 400 */
    PRA_ERR_LABEL_NAME_LENGTH = -1062,  /**< longer than max_label_name_bytes; 400 */
    PRA_ERR_LABEL_VALUE_LENGTH = -1063, /**< longer than max_label_value_bytes; 400 */
    PRA_ERR_MATCHER =
        -1064, /**< unknown matcher type, or a pattern that is not valid RE2 syntax; 400 */
    PRA_ERR_PATTERN_TOO_LONG = -1065,   /**< longer than max_pattern_bytes; 400 */
    PRA_ERR_PATTERN_TOO_COSTLY = -1066, /**< compiles to more than the regex memory limit; 400 */
    PRA_ERR_RESPONSE_TYPE = -1067, /**< none of accepted_response_types is supported; 400 [R-02] */
    PRA_ERR_SAMPLE_LIMIT = -1068,  /**< an answer over max_read_samples; 400 [R-09] */
    PRA_ERR_RESPONSE_TOO_LARGE = -1069, /**< an answer over max_response_bytes; 400 */
    PRA_ERR_QUERY_LIMIT = -1070,        /**< more than max_queries or max_matchers; 400 */
    PRA_ERR_HISTOGRAM = -1071,          /**< invalid native histogram; 400 [W-48] [W-49] */
    PRA_ERR_SYMBOLS =
        -1072, /**< a reference that names no symbol, or none for a value; 400 [W-33] */
    PRA_ERR_SERIES = -1073,   /**< a series without data; 400 [W-35] */
    PRA_ERR_EXEMPLAR = -1074, /**< an exemplar without a timestamp; 400 [W-45] */

    /* grades that a storage callback returns */
    PRA_ERR_REJECT = -1080, /**< permanent: 400, or the 4xx (not 429) in pra_error.http_status;
                               senders drop the data */
    PRA_ERR_RETRY =
        -1081, /**< passing: 503, or the 429/5xx in pra_error.http_status; senders try again */
    PRA_ERR_USER =
        -1082, /**< the script's own exception is pending; never made by the library; 500 */
    PRA_ERR_CALLBACK = -1083,  /**< any other nonzero value a callback returned; 500 */
    PRA_ERR_CANCELLED = -1084, /**< the host gave up on the exchange (client gone) */

    /* hosts and stores */
    PRA_ERR_IO = -1090,     /**< a file or socket operation failed; 503 */
    PRA_ERR_CORRUPT = -1091 /**< a store's file holds what this version cannot have written; 500 */
};

/** One line of English for a code, NUL-terminated, static; "unknown error" for others. */
PRA_API const char *pra_strerror(int32_t code);
/** Name of a code without its prefix in lower case, as used for metrics labels ("snappy_ratio"),
 * NUL-terminated, static. */
PRA_API const char *pra_error_name(int32_t code);
/** The HTTP status a code is answered with; 204 for PRA_OK, 500 for codes that have none of their
 * own. */
PRA_API int32_t pra_http_status(int32_t code);

/* ── Strings and other leaves fixed by the wire format ───────────────────────────────────────── */

/** Bytes of a string. ptr may be NULL iff len is 0. */
typedef struct pra_str {
    const char *ptr;
    size_t len;
} pra_str;

/** A string inside a base buffer: base + off, len bytes. */
typedef struct pra_span {
    uint32_t off;
    uint32_t len;
} pra_span;

typedef struct pra_label {
    pra_str name;
    pra_str value;
} pra_label;

/** A label inside a base buffer. */
typedef struct pra_label_span {
    pra_span name;
    pra_span value;
} pra_label_span;

typedef struct pra_header {
    pra_str name;
    pra_str value;
} pra_header;

/** Prometheus' two special NaNs, as bits [W-42]. */
#define PRA_STALE_NAN_BITS 0x7ff0000000000002
#define PRA_NORMAL_NAN_BITS 0x7ff8000000000001

/** 1 if value is the stale marker (by bit pattern), else 0 [W-42]. Pass a pointer into a column:
 * some language bridges and 32-bit x87 code quieten a signalling NaN that is passed by value. */
PRA_API int pra_is_stale(const double *value);

/* ── Allocator ───────────────────────────────────────────────────────────────────────────────── */

/**
 * Shaped like lua_Alloc: ptr NULL allocates; new_size 0 frees and returns NULL; else resizes,
 * keeping min(old, new) bytes. old_size is exact. Returns NULL when it cannot, leaving ptr as it
 * was. Results are aligned for any object. A handle copies the struct; fn may be called from every
 * thread that uses the handle.
 */
typedef struct pra_alloc {
    void *ctx;
    void *(*fn)(void *ctx, void *ptr, size_t old_size, size_t new_size);
} pra_alloc;

/** The libc allocator, used wherever an allocator argument is NULL. Static. */
PRA_API const pra_alloc *pra_alloc_libc(void);

/* ── Arena ───────────────────────────────────────────────────────────────────────────────────── */

/** Chunked bump allocator with a hard limit; everything in it dies at reset. */
typedef struct pra_arena pra_arena;

/** Returns new (free with pra_arena_free). max_bytes bounds what may be handed out between resets;
 * 0 = no bound. */
PRA_API int pra_arena_new(const pra_alloc *alloc, size_t max_bytes, pra_arena **out);
/** size bytes aligned to align (a power of two up to 16), valid until reset. Not zeroed.
 *  Returns NULL when the limit or the allocator refuses. */
PRA_API void *pra_arena_alloc(pra_arena *arena, size_t size, size_t align);
/** Forgets everything handed out, keeps the memory for the next use. */
PRA_API void pra_arena_reset(pra_arena *arena);
/** Bytes handed out since the last reset. */
PRA_API size_t pra_arena_used(const pra_arena *arena);
/** NULL is allowed. */
PRA_API void pra_arena_free(pra_arena *arena);

/* ── Byte buffer ─────────────────────────────────────────────────────────────────────────────── */

/** A growable run of bytes: where encoders write. */
typedef struct pra_buffer pra_buffer;

/** Returns new (free with pra_buffer_free). */
PRA_API int pra_buffer_new(const pra_alloc *alloc, pra_buffer **out);
/** Bytes, valid until the next call that changes the buffer. NULL only when empty. */
PRA_API const void *pra_buffer_data(const pra_buffer *buf);
PRA_API size_t pra_buffer_len(const pra_buffer *buf);
/** Appends; copies. */
PRA_API int pra_buffer_append(pra_buffer *buf, const void *data, size_t len);
/** Empties, keeps the memory. */
PRA_API void pra_buffer_reset(pra_buffer *buf);
/** NULL is allowed. */
PRA_API void pra_buffer_free(pra_buffer *buf);

/* ── Error ───────────────────────────────────────────────────────────────────────────────────── */

/** What went wrong: owned by the caller, 256 bytes for ever. Zero it before first use. */
typedef struct pra_error {
    int32_t code;        /**< PRA_ERR_…, or 0 */
    int32_t http_status; /**< what the sender is answered; a storage may set it, see PRA_ERR_REJECT,
                            PRA_ERR_RETRY */
    uint64_t offset;     /**< position in the decoded input, bytes; 0 where it has no meaning */
    uint32_t retry_after_s; /**< a storage's wish with a 429 or 5xx answer: seconds for a
                               Retry-After header; 0 = none [W-23] */
    char message[236];      /**< one line, NUL-terminated: what, where, and what to do */
} pra_error;

/** Sets code, message (copied, cut to fit, control characters replaced) and the code's HTTP status,
 * the rest to 0.
 * Returns code, so that a callback can `return pra_error_set(err, PRA_ERR_RETRY, msg)`. err NULL:
 * only returns code. */
PRA_API int pra_error_set(pra_error *err, int32_t code, pra_str message);
/** The same from a NUL-terminated message. */
PRA_API int pra_error_set_cstr(pra_error *err, int32_t code, const char *message_cstr);

/* ── Options ─────────────────────────────────────────────────────────────────────────────────── */

/** In every options struct: size is sizeof(struct) as the caller compiled it, 0 in a field means
 * the default, fields are only ever appended, and nonzero bytes beyond what the library knows give
 * PRA_ERR_UNSUPPORTED_OPTION. */
enum { PRA_OPTS_ZERO_IS_DEFAULT = 1 };

/** Value of a limit that is switched off. */
#define PRA_UNLIMITED 0xffffffffffffffff

/** What one request may cost. */
typedef struct pra_limits {
    size_t size;
    uint64_t max_body_bytes;    /**< compressed body; default 32 MiB */
    uint64_t max_decoded_bytes; /**< declared snappy length; default 32 MiB, at most 4 GiB - 1 */
    uint64_t max_memory_bytes;  /**< decoded body plus all structures made from it; also the strings
                                   that the references of a remote write 2.0 request stand for, each
                                   counted as often as it is used; also the labels of the series
                                   that a read lists (pra_series_list); default 128 MiB */
    uint64_t max_labels_per_series; /**< default 1,000 */
    uint64_t max_label_name_bytes;  /**< default 64 KiB */
    uint64_t max_label_value_bytes; /**< default 1 MiB */
    uint64_t max_queries;           /**< queries in a read request; default 100 */
    uint64_t max_matchers;          /**< matchers in a read request; default 1,000 */
    uint64_t max_pattern_bytes;     /**< one regular expression; default 64 KiB */
    uint64_t max_pattern_memory;    /**< compiled form of one regular expression; default 8 MiB */
    uint64_t max_read_samples;      /**< samples in one sampled answer; default 50,000,000 [R-09] */
    uint64_t max_response_bytes;    /**< one sampled answer before compression, one streamed answer
                                       whose series are collected (neither fetched nor of a
                                       PRA_STORAGE_ORDERED), and the data of one series that wait in
                                       a sink; default 256 MiB, at most 4 GiB - 1 */
    uint64_t retain_bytes;          /**< memory that each part of a handle (an exchange has eight)
                                       keeps between requests; default 16 MiB */
    uint64_t max_frame_bytes;       /**< labels and chunks of one frame of a streamed answer, which
                                       takes chunks until there is no room left; default 1 MiB
 */
    uint64_t max_frame_read_bytes;  /**< one frame that is read; default 50,000,000 [R-26] */
} pra_limits;

/** Zeroes size bytes and sets size. For callers that cannot write sizeof. Returns
 * PRA_ERR_INVALID_ARG if size < 8. */
PRA_API int pra_limits_init(pra_limits *limits, size_t size);

/* ── Snappy block format ─────────────────────────────────────────────────────────────────────── */

/** Appends the decoded block to out. Refuses in O(1), before allocating, a declared length above
 * limits->max_decoded_bytes or above what data of this length can hold (64/3 of it). limits NULL =
 * defaults. Returns 0, PRA_ERR_SNAPPY, PRA_ERR_SNAPPY_RATIO, PRA_ERR_DECODED_TOO_LARGE. */
PRA_API int pra_snappy_uncompress(const void *data, size_t len, const pra_limits *limits,
                                  pra_buffer *out, pra_error *err);
/** Appends data as one block to out. Returns 0; PRA_ERR_INVALID_ARG above 4 GiB - 1. */
PRA_API int pra_snappy_compress(const void *data, size_t len, pra_buffer *out, pra_error *err);

/* ── Columns: what series look like in memory ────────────────────────────────────────────────── */

enum {
    PRA_COUNTER_RESET_UNKNOWN = 0,
    PRA_COUNTER_RESET_YES = 1,
    PRA_COUNTER_RESET_NO = 2,
    PRA_COUNTER_RESET_GAUGE = 3
};

enum {
    PRA_METRIC_UNKNOWN = 0,
    PRA_METRIC_COUNTER = 1,
    PRA_METRIC_GAUGE = 2,
    PRA_METRIC_HISTOGRAM = 3,
    PRA_METRIC_GAUGEHISTOGRAM = 4,
    PRA_METRIC_SUMMARY = 5,
    PRA_METRIC_INFO = 6,
    PRA_METRIC_STATESET = 7
};

/** One run of buckets. */
typedef struct pra_bucket_span {
    int32_t offset;
    uint32_t length;
} pra_bucket_span;

/** A label of remote write 2.0 as numbers of symbols. */
typedef struct pra_symbol_refs {
    uint32_t name;
    uint32_t value;
} pra_symbol_refs;

/** Elements [start, start + count) of a column. */
typedef struct pra_range {
    uint32_t start;
    uint32_t count;
} pra_range;

enum {
    PRA_HISTOGRAM_FLOAT =
        1, /**< count is a double (count_float present, even if 0) [W-47]; else an integer */
    PRA_HISTOGRAM_ZERO_FLOAT = 2 /**< likewise zero_count */
};

/** One native histogram; its buckets are ranges of the columns of pra_columns. 128 bytes. */
typedef struct pra_histogram {
    int64_t timestamp_ms;
    int64_t start_timestamp_ms; /**< 0 = not set */
    uint64_t count_bits;        /**< integer, or the bits of a double: see flags */
    uint64_t zero_count_bits;   /**< integer, or the bits of a double: see flags */
    double sum;                 /**< the stale bits make the whole histogram stale [W-43] */
    double zero_threshold;
    int32_t schema;
    int32_t reset_hint; /**< PRA_COUNTER_RESET_…; unknown values are kept */
    uint32_t flags;     /**< PRA_HISTOGRAM_… */
    uint32_t reserved;
    pra_range positive_spans; /**< of bucket_spans */
    pra_range negative_spans; /**< of negative_bucket_spans */
    pra_range positive_deltas;
    pra_range negative_deltas;
    pra_range positive_counts;
    pra_range negative_counts;
    pra_range custom_values;
    uint64_t reserved2;
} pra_histogram;

/** One entry of metadata. */
typedef struct pra_metadata {
    int32_t type;    /**< PRA_METRIC_…; unknown values are kept */
    uint32_t series; /**< index of the series it came with (2.0); UINT32_MAX where it stands alone
                        (1.0) */
    pra_span family; /**< empty in 2.0, whose series it describes */
    pra_span help;
    pra_span unit;
} pra_metadata;

/**
 * The arrays of a decoded message, filled by one call. Series i owns elements [x_offsets[i],
 * x_offsets[i + 1]) of column x; the offset arrays have series_count + 1 elements. All pointers are
 * valid until the handle they came from is decoded into, changed, reset or freed (by its last
 * owner); a pointer whose count is 0 may be NULL (offset arrays never are). Set size before the
 * call; later versions append.
 */
typedef struct pra_columns {
    size_t size;
    const char *base; /**< all spans point into this buffer */
    size_t base_len;
    size_t series_count;

    const uint32_t *label_offsets;
    const pra_label_span *labels;
    size_t label_count;

    const uint32_t *sample_offsets;
    const int64_t *timestamps_ms;
    const double *values;
    size_t sample_count;

    const uint32_t *exemplar_offsets;
    const int64_t *exemplar_timestamps_ms;
    const double *exemplar_values;
    size_t exemplar_count;
    const uint32_t *exemplar_label_offsets; /**< exemplar_count + 1 elements */
    const pra_label_span *exemplar_labels;
    size_t exemplar_label_count;

    const uint32_t *histogram_offsets;
    const pra_histogram *histograms;
    size_t histogram_count;
    const pra_bucket_span *bucket_spans; /**< of positive buckets */
    size_t bucket_span_count;
    const pra_bucket_span *negative_bucket_spans;
    size_t negative_bucket_span_count;
    const int64_t *positive_deltas;
    size_t positive_delta_count;
    const int64_t *negative_deltas;
    size_t negative_delta_count;
    const double *positive_counts;
    size_t positive_count_count;
    const double *negative_counts;
    size_t negative_count_count;
    const double *custom_values;
    size_t custom_value_count;

    const pra_metadata *metadata;
    size_t metadata_count;

    const pra_span *symbols; /**< 2.0 as decoded: the symbol table, so that a caller can keep one
                                object of its own per symbol [W-33]; else NULL */
    size_t symbol_count;
    const pra_symbol_refs *label_refs;  /**< 2.0 as decoded: element i are the symbols of labels[i];
                                           else NULL */
    const int64_t *start_timestamps_ms; /**< of the samples, 0 = not set [W-44]; NULL where none is
                                           set */
} pra_columns;

/** One series of a pra_columns, as pointers. */
typedef struct pra_series {
    size_t size;
    const char *base;
    const pra_label_span *labels;
    size_t label_count;
    const int64_t *timestamps_ms;
    const double *values;
    size_t sample_count;
    pra_range exemplars; /**< of the exemplar columns */
    const pra_histogram *histograms;
    size_t histogram_count;
    const pra_symbol_refs *label_refs;  /**< NULL as in pra_columns */
    const int64_t *start_timestamps_ms; /**< NULL as in pra_columns */
} pra_series;

/** Series number index of columns. Returns 0; PRA_ERR_INVALID_ARG if there is none. Set out->size
 * first. */
PRA_API int pra_columns_series(const pra_columns *columns, size_t index, pra_series *out);
/** 1 if the histogram is a stale marker (its sum has the stale bits; nothing else in it means
 * anything), else 0 [W-43]. NULL gives 0. */
PRA_API int pra_histogram_is_stale(const pra_histogram *histogram);
/** Checks histogram number index of columns by Prometheus' rules: schema -4 to 8 or -53 [W-48]; as
 * many buckets as the spans say; no negative offset but the first; no negative count; an integer
 * count equal to the sum of the buckets, or not below it where sum is NaN; bounds that rise, with
 * custom buckets, and no zero bucket or negative side [W-49]. Buckets and a zero count of the other
 * kind than count are not looked at [W-47]; a stale one is checked as any other. Returns 0,
 * PRA_ERR_HISTOGRAM with the rule that is broken in why (may be NULL). */
PRA_API int pra_histogram_validate(const pra_columns *columns, size_t index, pra_error *why);
/** Upper bound of exponential bucket number index (as its span says; any number) of a histogram of
 * schema -4 to 8, as Prometheus computes it: 2^(index / 2^schema), for the last bucket of numbers
 * the largest double. A positive bucket holds what is above the bound of index - 1 and not above
 * its own; of a negative one the bounds are mirrored. NaN for other schemas: custom bounds are
 * values.
 */
PRA_API double pra_histogram_bound(int32_t schema, int32_t index);
/** XXH64 over name 0xFF value 0xFF … of labels in the order given: stable for ever, equal to
 * Prometheus' labels.Hash for sorted labels. Different labels can share one: compare them too. */
PRA_API uint64_t pra_labels_fingerprint(const char *base, const pra_label_span *labels,
                                        size_t count);

/* ── Write request ───────────────────────────────────────────────────────────────────────────── */

/** A remote write message as columns: decoded, or built series by series; encodes either. Warm
 * reuse allocates nothing. */
typedef struct pra_write_request pra_write_request;

enum {
    PRA_WRITE_V1 = 1, /**< prometheus.WriteRequest (remote write 1.0) */
    PRA_WRITE_V2 = 2  /**< io.prometheus.write.v2.Request (remote write 2.0) */
};

/** Returns new (free with pra_write_request_free). */
PRA_API int pra_write_request_new(const pra_alloc *alloc, pra_write_request **out);
/**
 * One more owner of the request as it is now, without a copy: so a storage keeps what it was handed
 * beyond its callback. Returns req itself, to be given back with pra_write_request_free, on any
 * thread, after which it is free for the others; NULL if req is NULL or in a callback of its own
 * (pra_write_request_canonicalize). While it has several owners nothing changes it: what would
 * returns PRA_ERR_BUSY (pra_write_request_reset does nothing), and its columns stay valid. The
 * owners may look at it, encode and share it at the same time, on different threads. Its memory,
 * the allocator it came from, and data that pra_write_request_decode borrowed must live until the
 * last of them is gone; the request that a storage is handed borrows none.
 */
PRA_API pra_write_request *pra_write_request_share(const pra_write_request *req);
/** Gives back what pra_write_request_new or pra_write_request_share returned; with the last owner
 * the memory goes. NULL is allowed. */
PRA_API void pra_write_request_free(pra_write_request *req);
/** Empties; keeps up to retain_bytes of memory. */
PRA_API void pra_write_request_reset(pra_write_request *req);

/**
 * Decodes a protobuf message, replacing what was there. Borrows data until the next decode, reset
 * or free: the columns' base is data. Accepts and refuses what Prometheus' Go decoder accepts and
 * refuses. Of 2.0 a reference that names no symbol is the empty string and symbol 0 in the columns
 * [W-33], until the request is made canonical; symbols may stand behind the series; field 6 of
 * older senders becomes the start timestamp of all samples and histograms of its series that have
 * none [W-44]. limits NULL = defaults. On failure the handle is empty and usable. Returns 0,
 * PRA_ERR_PROTO (offset says where), PRA_ERR_MEMORY_BUDGET, PRA_ERR_LABEL_COUNT,
 * PRA_ERR_LABEL_NAME_LENGTH, PRA_ERR_LABEL_VALUE_LENGTH, PRA_ERR_DECODED_TOO_LARGE,
 * PRA_ERR_NOT_SUPPORTED (version).
 */
PRA_API int pra_write_request_decode(pra_write_request *req, int32_t version, const void *data,
                                     size_t len, const pra_limits *limits, pra_error *err);
/** The same from a snappy block, uncompressed into memory of the handle; data is not kept. Also the
 * errors of pra_snappy_uncompress. */
PRA_API int pra_write_request_decode_snappy(pra_write_request *req, int32_t version,
                                            const void *data, size_t len, const pra_limits *limits,
                                            pra_error *err);

/** Fills out with the columns (see there for their life time). Set out->size first. */
PRA_API int pra_write_request_columns(const pra_write_request *req, pra_columns *out);
/** Version of the last decode, or 0 if built. */
PRA_API int32_t pra_write_request_version(const pra_write_request *req);
/** Bytes of memory the handle holds. */
PRA_API size_t pra_write_request_memory(const pra_write_request *req);

enum {
    /** Refuses what is mended otherwise: unsorted labels, empty values; and of 2.0, series with
     * exemplars only or with both samples and histograms, and symbols that do not begin with the
     * empty one. */
    PRA_CANONICAL_STRICT = 1
};

/**
 * Makes a request canonical, as storages get it.
 * - Labels are sorted by name (bytes), empty values dropped [W-30] [W-32]; those of exemplars too.
 * - Histograms of schema 9 to 52 are reduced to 8 [W-48], stale ones keep nothing but their time
 * and kind [W-43], buckets and a zero count of the other kind than count are dropped [W-47].
 * - Taken out are: series without a metric name (label __name__) [W-32], with an empty or repeated
 * label name, with invalid UTF-8; of 2.0 also without data [W-35] or with a reference that names no
 * symbol [W-33]. Single histograms that pra_histogram_validate refuses; single exemplars with such
 * labels (none are needed), and of 2.0 without a timestamp [W-45] or with a wrong reference. A
 * series that nothing is left of goes silently, and with a series its metadata.
 *
 * Each of them is handed to on_reject (may be NULL). kind: PRA_DATUM_SERIES with series as decoded,
 * or PRA_DATUM_HISTOGRAM or PRA_DATUM_EXEMPLAR with series holding its labels and that one datum.
 * index: position of the series in the columns as decoded. why: PRA_ERR_LABELS, PRA_ERR_SYMBOLS,
 * PRA_ERR_SERIES, PRA_ERR_HISTOGRAM, PRA_ERR_EXEMPLAR; from the 101st on the message is that of
 * pra_strerror. flags: PRA_CANONICAL_…. Returns the number of calls, also if there is no on_reject.
 */
PRA_API int64_t pra_write_request_canonicalize(pra_write_request *req, uint32_t flags,
                                               void (*on_reject)(void *ctx, int32_t kind,
                                                                 const pra_series *series,
                                                                 size_t index,
                                                                 const pra_error *why),
                                               void *ctx);

/** Starts a series; the following add_ calls belong to it. Copies. Only on a handle that is empty
 * or was built, not decoded. */
PRA_API int pra_write_request_add_series(pra_write_request *req, const pra_label *labels,
                                         size_t count);
/** Adds samples to the current series. start_timestamps_ms: count elements, 0 = not set; NULL =
 * none is set [W-44]. Copies. */
PRA_API int pra_write_request_add_samples(pra_write_request *req, const int64_t *timestamps_ms,
                                          const double *values, const int64_t *start_timestamps_ms,
                                          size_t count);
/** Adds an exemplar to the current series. Copies. */
PRA_API int pra_write_request_add_exemplar(pra_write_request *req, const pra_label *labels,
                                           size_t count, int64_t timestamp_ms, double value);
/** Adds histogram number index of columns (of another handle) to the current series. Copies. */
PRA_API int pra_write_request_add_histogram(pra_write_request *req, const pra_columns *columns,
                                            size_t index);
/** Adds a histogram from one encoded Histogram message of either version (pra_histogram_encode) to
 * the current series. Copies. Returns 0, PRA_ERR_PROTO. */
PRA_API int pra_write_request_add_histogram_encoded(pra_write_request *req, const void *data,
                                                    size_t len, pra_error *err);
/** Adds an entry of metadata: of a family of series (1.0), or, if family is empty, of the current
 * series (2.0). Copies. */
PRA_API int pra_write_request_add_metadata(pra_write_request *req, int32_t type, pra_str family,
                                           pra_str help, pra_str unit);

/** Adds a whole series of another handle: number index of columns, with its samples, start
 * timestamps, histograms, exemplars and its entries of metadata (2.0). labels NULL: under its own
 * labels; else under these count labels. Copies. Returns 0, PRA_ERR_INVALID_ARG if there is no such
 * series; on failure req is as it was. */
PRA_API int pra_write_request_add_copy(pra_write_request *req, const pra_columns *columns,
                                       size_t index, const pra_label *labels, size_t count);
/** Hands out the series of req to count requests, each to out[pra_labels_fingerprint of its labels
 * as they stand % count], behind what is there, so that series with the same sorted labels always
 * come to the same one. Metadata that stands alone (1.0) goes to all of them. Copies. The out are
 * different handles, none of them req, empty or built. On failure all are as they were. */
PRA_API int pra_write_request_split(const pra_write_request *req, pra_write_request *const *out,
                                    size_t count, pra_error *err);

/** Appends histogram number index of columns to out as one Histogram message of 2.0, all fields
 * kept: a form in which to store it. For pra_series_sink_histograms it becomes columns again in a
 * write request: pra_write_request_add_series (no labels are needed),
 * pra_write_request_add_histogram_encoded, pra_write_request_columns. */
PRA_API int pra_histogram_encode(const pra_columns *columns, size_t index, pra_buffer *out);

/**
 * Appends the protobuf message to out, whichever version the request was decoded from.
 * - To 2.0 [S-07]: symbols in the order of their first use. Metadata of a family goes to the series
 * of that name and, as its type has it, to those with _bucket, _count, _sum, _total, _created or
 * _info behind it; that of families without a series is left out. Wrong references [W-33] are the
 * empty string.
 * - To 1.0: metadata of series becomes one entry per family, the first of each counting; there are
 * no start timestamps of samples and histograms [W-44]. Encoding strings takes memory of the
 * handle, which a shared one gives back at once. Returns 0; PRA_ERR_NOT_SUPPORTED (version),
 * PRA_ERR_MEMORY_BUDGET (for a decoded request, of the limits it was decoded with).
 */
PRA_API int pra_write_request_encode(const pra_write_request *req, int32_t version, pra_buffer *out,
                                     pra_error *err);

/* ── Matchers ────────────────────────────────────────────────────────────────────────────────── */

/** One label matcher with Prometheus' semantics: a missing label equals "", patterns are RE2,
 * anchored, dot matches newline. */
typedef struct pra_matcher pra_matcher;

enum { PRA_MATCH_EQUAL = 0, PRA_MATCH_NOT_EQUAL = 1, PRA_MATCH_REGEX = 2, PRA_MATCH_NOT_REGEX = 3 };

/** Compiles. Copies name and value. limits NULL = defaults. Returns new (free with
 * pra_matcher_free), or PRA_ERR_MATCHER, PRA_ERR_PATTERN_TOO_LONG, PRA_ERR_PATTERN_TOO_COSTLY,
 * PRA_ERR_NOT_SUPPORTED (a pattern that needs RE2 in a build without it). RE2's own memory comes
 * from the C++ heap, bounded by max_pattern_memory. A compiled matcher may be used by several
 * threads. */
PRA_API int pra_matcher_new(const pra_alloc *alloc, int32_t type, pra_str name, pra_str value,
                            const pra_limits *limits, pra_matcher **out, pra_error *err);
/** NULL is allowed. Only for matchers from pra_matcher_new. */
PRA_API void pra_matcher_free(pra_matcher *matcher);
/** PRA_MATCH_… */
PRA_API int32_t pra_matcher_type(const pra_matcher *matcher);
/** Label name and value or pattern as given; valid as long as the matcher. */
PRA_API void pra_matcher_name(const pra_matcher *matcher, pra_str *out);
PRA_API void pra_matcher_value(const pra_matcher *matcher, pra_str *out);
/** 1 if a label with this value satisfies the matcher (the empty value stands for a missing label),
 * else 0; PRA_ERR_STATE if it was decoded but not compiled, PRA_ERR_NOMEM if RE2 found no memory.
 * A value that is not UTF-8 may or may not match a pattern. */
PRA_API int pra_matcher_matches(const pra_matcher *matcher, pra_str value);
/** For push-down: the complete, sorted set of values that the positive form (=, =~) of this matcher
 * accepts, where it is one. Returns the number of values with *out valid as long as the matcher; 0
 * if the set is not known. For != and !~ these are the values refused. */
PRA_API size_t pra_matcher_set(const pra_matcher *matcher, const pra_str **out);
/** For push-down: every value that the positive form accepts starts with *out. Returns 1, or 0 if
 * no prefix is known. */
PRA_API int pra_matcher_prefix(const pra_matcher *matcher, pra_str *out);

/* ── Relabelling ─────────────────────────────────────────────────────────────────────────────── */

/** What a rule does, as in Prometheus' relabel_config. "The value" is that of source_labels, joined
 * by separator; a label that is missing counts as empty. A pattern matches the value as a whole
 * (see pra_matcher). A label that is set to nothing is removed. */
enum {
    /** where the value matches, sets target_label to replacement; both may name groups of regex:
     * $1, ${1}, $name, ${name}, and $$ for a dollar; not where the name becomes empty */
    PRA_RELABEL_REPLACE = 0,
    PRA_RELABEL_KEEP = 1,      /**< drops the series if the value does not match */
    PRA_RELABEL_DROP = 2,      /**< drops the series if the value matches */
    PRA_RELABEL_KEEPEQUAL = 3, /**< drops the series if the value is not that of target_label */
    PRA_RELABEL_DROPEQUAL = 4, /**< drops the series if the value is that of target_label */
    /** sets target_label to the value's hash modulo modulus; the hash is the last 8 bytes of MD5 */
    PRA_RELABEL_HASHMOD = 5,
    PRA_RELABEL_LABELMAP = 6,  /**< copies labels whose names match to the name that replacement
                                  gives; not where that is empty */
    PRA_RELABEL_LABELDROP = 7, /**< removes labels whose names match */
    PRA_RELABEL_LABELKEEP = 8, /**< removes labels whose names do not match */
    PRA_RELABEL_LOWERCASE = 9, /**< sets target_label to the value in lower case, rune by rune */
    PRA_RELABEL_UPPERCASE = 10
};

/** PRA_RELABEL_… of an action's name ("labeldrop"; ASCII case ignored), or PRA_ERR_INVALID_ARG. */
PRA_API int32_t pra_relabel_action(pra_str name);

/** One rule. Unlike in options, what is zero stands as it is: begin with pra_relabel_rule_init. */
typedef struct pra_relabel_rule {
    size_t size;
    int32_t action; /**< PRA_RELABEL_…; replace */
    uint32_t reserved;
    const pra_str *source_labels; /**< none */
    size_t source_label_count;
    pra_str separator;    /**< ";" */
    pra_str regex;        /**< "(.*)" */
    pra_str target_label; /**< none */
    pra_str replacement;  /**< "$1" */
    uint64_t modulus;     /**< 0 */
} pra_relabel_rule;

/** Prometheus' defaults, as above. */
PRA_API int pra_relabel_rule_init(pra_relabel_rule *rule, size_t size);

/** A list of rules, compiled: immutable, for any number of threads. */
typedef struct pra_relabel pra_relabel;

/**
 * Compiles count rules, each rules[0].size bytes behind the one before. Copies. Checks them as
 * Prometheus does when it loads its configuration; label names may be any UTF-8. limits (NULL =
 * defaults): those of patterns, as for pra_matcher_new, all of them within max_memory_bytes; and
 * for what rules make: max_labels_per_series, max_label_name_bytes, max_label_value_bytes,
 * max_memory_bytes. Returns new (free with pra_relabel_free); errors name the rule, the first being
 * number 1, and say what to do: PRA_ERR_INVALID_ARG, PRA_ERR_MATCHER, PRA_ERR_PATTERN_TOO_LONG,
 * PRA_ERR_PATTERN_TOO_COSTLY, PRA_ERR_NOT_SUPPORTED (a pattern that needs RE2 in a build without
 * it; alternatives of literals, .* and .+ do not, nor a group around the whole).
 */
PRA_API int pra_relabel_new(const pra_alloc *alloc, const pra_relabel_rule *rules, size_t count,
                            const pra_limits *limits, pra_relabel **out, pra_error *err);
/** NULL is allowed. */
PRA_API void pra_relabel_free(pra_relabel *relabel);

/**
 * Applies the rules to one set of labels, in any order, without repeats. Returns PRA_OK with what
 * is left, sorted by name, perhaps nothing: *out_count labels in memory of arena; their strings are
 * those of labels, of relabel, or of arena. PRA_DONE: a rule drops it, *out is not set. Also
 * PRA_ERR_LABEL_COUNT, PRA_ERR_LABEL_NAME_LENGTH, PRA_ERR_LABEL_VALUE_LENGTH: a rule makes more
 * than limits allow; PRA_ERR_MEMORY_BUDGET.
 */
PRA_API int pra_relabel_labels(const pra_relabel *relabel, const pra_label *labels, size_t count,
                               pra_arena *arena, const pra_label **out, size_t *out_count,
                               pra_error *err);
/**
 * Appends what the rules leave of req to out, another handle that is empty or built: whole series
 * with samples, start timestamps, histograms, exemplars and metadata, in their order. A series
 * without a metric name (label __name__) is left out as if a rule dropped it [W-32]; with a series
 * goes its metadata (2.0); metadata that stands alone (1.0) stays. Sets *out_dropped (may be NULL)
 * to the number of series left out. Series that become the same are not joined. Labels are best
 * canonical (pra_write_request_canonicalize); repeated names stay repeated where no rule sets them.
 * Copies; warm reuse of out allocates little. Errors of pra_relabel_labels, with the number of the
 * series; then out is as it was.
 */
PRA_API int pra_write_request_relabel(const pra_write_request *req, const pra_relabel *relabel,
                                      pra_write_request *out, uint64_t *out_dropped,
                                      pra_error *err);

/* ── Read request ────────────────────────────────────────────────────────────────────────────── */

/** A remote read request: decoded or built; encodes either. */
typedef struct pra_read_request pra_read_request;
/** One query of it; lives as long as the request is not decoded into, reset or freed. */
typedef struct pra_query pra_query;

enum { PRA_RESPONSE_SAMPLES = 0, PRA_RESPONSE_STREAMED_XOR_CHUNKS = 1 };

/** Advice from the reader; a store may ignore all of it. Set size first. */
typedef struct pra_read_hints {
    size_t size;
    int32_t present; /**< 0: the query has no hints, the rest is zero */
    int32_t by;      /**< grouping is "by" (1) or "without" (0) */
    int64_t step_ms;
    int64_t start_ms;
    int64_t end_ms;
    int64_t range_ms;
    pra_str func;
    const pra_str *grouping;
    size_t grouping_count;
} pra_read_hints;

/** Returns new (free with pra_read_request_free). */
PRA_API int pra_read_request_new(const pra_alloc *alloc, pra_read_request **out);
/** NULL is allowed. */
PRA_API void pra_read_request_free(pra_read_request *req);
PRA_API void pra_read_request_reset(pra_read_request *req);
/** Decodes a protobuf message, replacing what was there; copies what it needs. On failure the
 * handle is empty and usable. Returns 0, PRA_ERR_PROTO, PRA_ERR_MEMORY_BUDGET, PRA_ERR_QUERY_LIMIT,
 * PRA_ERR_DECODED_TOO_LARGE. */
PRA_API int pra_read_request_decode(pra_read_request *req, const void *data, size_t len,
                                    const pra_limits *limits, pra_error *err);
/** The same from a snappy block. Also the errors of pra_snappy_uncompress. */
PRA_API int pra_read_request_decode_snappy(pra_read_request *req, const void *data, size_t len,
                                           const pra_limits *limits, pra_error *err);
/** Compiles the matchers of all queries; needed before pra_query_matches and before a store sees
 * the request. Errors of pra_matcher_new. */
PRA_API int pra_read_request_compile(pra_read_request *req, const pra_limits *limits,
                                     pra_error *err);

PRA_API size_t pra_read_request_query_count(const pra_read_request *req);
/** NULL if there is no such query. */
PRA_API const pra_query *pra_read_request_query(const pra_read_request *req, size_t index);
/** The types the reader accepts, in its order, unknown numbers included; valid as long as
 * the queries. Returns their number. */
PRA_API size_t pra_read_request_accepted(const pra_read_request *req, const int32_t **out);

/** Both ends are inclusive. */
PRA_API int64_t pra_query_start_ms(const pra_query *query);
PRA_API int64_t pra_query_end_ms(const pra_query *query);
PRA_API size_t pra_query_matcher_count(const pra_query *query);
/** NULL if there is no such matcher. */
PRA_API const pra_matcher *pra_query_matcher(const pra_query *query, size_t index);
PRA_API int pra_query_hints(const pra_query *query, pra_read_hints *out);
/** A place for a pointer of the storage's own, NULL at first: what it keeps from call to call while
 * an exchange answers this query (pra_storage_vtbl.release frees it). Never NULL; valid as long as
 * the query. */
PRA_API void **pra_query_state(const pra_query *query);
/** 1 if a series with these labels (any order) satisfies all matchers, else 0; errors of
 * pra_matcher_matches. */
PRA_API int pra_query_matches(const pra_query *query, const pra_label *labels, size_t count);
/** The same for labels in a base buffer. */
PRA_API int pra_query_matches_spans(const pra_query *query, const char *base,
                                    const pra_label_span *labels, size_t count);

/** Adds a query; the following calls belong to it. Only on a handle that is empty or was built. */
PRA_API int pra_read_request_add_query(pra_read_request *req, int64_t start_ms, int64_t end_ms);
/** Adds a matcher (not yet compiled) to the current query. Copies. */
PRA_API int pra_read_request_add_matcher(pra_read_request *req, int32_t type, pra_str name,
                                         pra_str value);
/** Sets the current query's hints. Copies. */
PRA_API int pra_read_request_set_hints(pra_read_request *req, const pra_read_hints *hints);
/** Adds an accepted response type, in order of preference. */
PRA_API int pra_read_request_add_accepted(pra_read_request *req, int32_t type);
/** Appends the protobuf message to out. */
PRA_API int pra_read_request_encode(const pra_read_request *req, pra_buffer *out, pra_error *err);

/* ── Read response ───────────────────────────────────────────────────────────────────────────── */

/** Where a store puts the series that answer one query. It checks them, sorts labels and samples,
 * trims to the query's time range and encodes. Series stay in the order they come; in a streamed
 * answer they are put in order. */
typedef struct pra_series_sink pra_series_sink;

/** Returns new (free with pra_series_sink_free), for use outside a handler. limits NULL = defaults.
 */
PRA_API int pra_series_sink_new(const pra_alloc *alloc, int64_t start_ms, int64_t end_ms,
                                const pra_limits *limits, pra_series_sink **out);
/** Empties it for another range, keeps the memory and the limits. Only for sinks from
 * pra_series_sink_new. */
PRA_API void pra_series_sink_reset(pra_series_sink *sink, int64_t start_ms, int64_t end_ms);
/** NULL is allowed. Only for sinks from pra_series_sink_new. */
PRA_API void pra_series_sink_free(pra_series_sink *sink);
/**
 * Adds one series; two with the same labels are not joined. Labels in any order, without repeats;
 * samples in any order (sorted if they are not; of equal timestamps the last wins), those outside
 * the range are left out; a series without samples left is left out. Copies. Returns 0,
 * PRA_ERR_LABELS (and the series is not added), PRA_ERR_SAMPLE_LIMIT, PRA_ERR_RESPONSE_TOO_LARGE,
 * PRA_ERR_CANCELLED. After any of the last three every further call returns the same: the store
 * should return it. A storage with PRA_STORAGE_ORDERED: also PRA_DONE, the series is added and
 * enough waits (see process_query); PRA_ERR_CALLBACK, it is out of order, for good as the three.
 */
PRA_API int pra_series_sink_add(pra_series_sink *sink, const pra_label *labels, size_t label_count,
                                const int64_t *timestamps_ms, const double *values,
                                size_t sample_count, pra_error *err);
/** The same in pieces, for stores that read rows: begin, then samples any number of times, then
 * end. Copies. pra_series_sink_begin drops a series that was begun and not ended. */
PRA_API int pra_series_sink_begin(pra_series_sink *sink, const pra_label *labels,
                                  size_t label_count, pra_error *err);
PRA_API int pra_series_sink_samples(pra_series_sink *sink, const int64_t *timestamps_ms,
                                    const double *values, size_t count, pra_error *err);
/** Histograms [start, start + count) of columns, as pra_series_sink_samples; a sample at the same
 * time goes before. Also PRA_ERR_INVALID_ARG: ranges outside the columns; PRA_ERR_HISTOGRAM: one of
 * them is invalid (pra_histogram_validate), and none is added. */
PRA_API int pra_series_sink_histograms(pra_series_sink *sink, const pra_columns *columns,
                                       size_t start, size_t count, pra_error *err);
/** Returns as pra_series_sink_add. */
PRA_API int pra_series_sink_end(pra_series_sink *sink, pra_error *err);
/** Series and samples added so far (after trimming). */
PRA_API size_t pra_series_sink_series_count(const pra_series_sink *sink);
PRA_API size_t pra_series_sink_sample_count(const pra_series_sink *sink);

/** Appends a prometheus.ReadResponse with one result per sink, in order, to out. Returns 0;
 * PRA_ERR_RESPONSE_TOO_LARGE. */
PRA_API int pra_read_response_encode(const pra_series_sink *const *sinks, size_t count,
                                     pra_buffer *out, pra_error *err);

/** A decoded sampled answer. */
typedef struct pra_read_response pra_read_response;

/** Returns new (free with pra_read_response_free). */
PRA_API int pra_read_response_new(const pra_alloc *alloc, pra_read_response **out);
/** NULL is allowed. */
PRA_API void pra_read_response_free(pra_read_response *resp);
/** As pra_write_request_decode; borrows data. */
PRA_API int pra_read_response_decode(pra_read_response *resp, const void *data, size_t len,
                                     const pra_limits *limits, pra_error *err);
/** As pra_write_request_decode_snappy. */
PRA_API int pra_read_response_decode_snappy(pra_read_response *resp, const void *data, size_t len,
                                            const pra_limits *limits, pra_error *err);
/** All series of all results, one after the other. Set out->size first. */
PRA_API int pra_read_response_columns(const pra_read_response *resp, pra_columns *out);
/** Result i holds series [(*offsets)[i], (*offsets)[i + 1]). Returns the number of results;
 * *offsets has one element more. */
PRA_API size_t pra_read_response_results(const pra_read_response *resp, const uint32_t **offsets);

/* ── Chunks and streamed answers ─────────────────────────────────────────────────────────────── */

/** How the samples of a chunk are encoded; a streamed answer is made of such chunks. Only types
 * from PRA_CHUNK_XOR2 on have start timestamps. */
enum {
    PRA_CHUNK_XOR = 1,
    PRA_CHUNK_HISTOGRAM = 2,
    PRA_CHUNK_FLOAT_HISTOGRAM = 3,
    PRA_CHUNK_XOR2 = 4,
    PRA_CHUNK_HISTOGRAM_ST = 5,
    PRA_CHUNK_FLOAT_HISTOGRAM_ST = 6
};

/** Appends samples as one chunk of type PRA_CHUNK_XOR, byte by byte as Prometheus encodes them.
 * Readers expect increasing timestamps and at most 120 samples; any timestamps and 1 … 65,535
 * samples are encoded. */
PRA_API int pra_chunk_encode_samples(const int64_t *timestamps_ms, const double *values,
                                     size_t count, pra_buffer *out);
/** Appends histograms [start, start + count) of columns, in increasing time, as one chunk: as many
 * as go into it. A chunk ends at 1,024 bytes (but not before it has 10 histograms), where buckets,
 * schema or kind change, where a counter starts anew, and behind a stale histogram. *taken says how
 * many went in, *type which chunk it is (PRA_CHUNK_HISTOGRAM, PRA_CHUNK_FLOAT_HISTOGRAM). Returns
 * 0, PRA_ERR_HISTOGRAM: the first one's buckets are not those of its spans, or its schema is
 * unknown.
 */
PRA_API int pra_chunk_encode_histograms(const pra_columns *columns, size_t start, size_t count,
                                        size_t *taken, int32_t *type, pra_buffer *out);
/** Appends what is in a chunk to the current series of req; on failure req is as it was. Types 1 to
 * 4. Reset hints are those that Prometheus reads: unknown for the first histogram, for gauges
 * PRA_COUNTER_RESET_GAUGE. limits NULL = defaults. Returns 0, PRA_ERR_PROTO (malformed),
 * PRA_ERR_NOT_SUPPORTED (other types), PRA_ERR_MEMORY_BUDGET (more than max_memory_bytes in req).
 */
PRA_API int pra_chunk_decode(int32_t type, const void *data, size_t len, pra_write_request *req,
                             const pra_limits *limits, pra_error *err);

/** Reads a streamed answer: bytes as they come from the network, frame by frame. */
typedef struct pra_stream_reader pra_stream_reader;

/** limits NULL = defaults. Returns new (free with pra_stream_reader_free). */
PRA_API int pra_stream_reader_new(const pra_alloc *alloc, const pra_limits *limits,
                                  pra_stream_reader **out);
/** NULL is allowed. */
PRA_API void pra_stream_reader_free(pra_stream_reader *reader);
/** For another answer; keeps up to retain_bytes of memory. */
PRA_API void pra_stream_reader_reset(pra_stream_reader *reader);
/** Adds bytes. Copies. The columns of the last frame are no longer valid. */
PRA_API int pra_stream_reader_feed(pra_stream_reader *reader, const void *data, size_t len);
/**
 * Goes to the next frame and decodes it. Returns PRA_OK: it is there; PRA_DONE: more bytes are
 * needed; PRA_ERR_FRAME: checksum, a frame over limits->max_frame_read_bytes or without a series
 * PRA_ERR_PROTO: a malformed message or chunk; PRA_ERR_NOT_SUPPORTED: a type of chunk that
 * cannot be decoded; PRA_ERR_MEMORY_BUDGET; errors of labels as of pra_write_request_decode.
 * After an error other than PRA_ERR_NOMEM every further call returns the same until reset.
 */
PRA_API int pra_stream_reader_next(pra_stream_reader *reader, pra_error *err);
/** The series of the frame: one, as senders make them. A series may go on in the next frame, with
 * the same labels. Valid until the next feed, next, reset or free. Set out->size first.
 * PRA_ERR_STATE if there is no frame. */
PRA_API int pra_stream_reader_columns(const pra_stream_reader *reader, pra_columns *out);
/** The query that the frame is part of the answer to; -1 if there is no frame. */
PRA_API int64_t pra_stream_reader_query_index(const pra_stream_reader *reader);
/** Whether the bytes may end here. Returns PRA_OK, or PRA_ERR_FRAME: inside a frame; an answer that
 * is cut off between two frames is known only to HTTP. */
PRA_API int pra_stream_reader_finish(const pra_stream_reader *reader, pra_error *err);

/* ── Context ─────────────────────────────────────────────────────────────────────────────────── */

/** What a storage may know about the HTTP request; valid during the callback (driven; all calls for
 * one answer are given the same, until release) or until the exchange is finished (stepped). */
typedef struct pra_context pra_context;

/** Value of the tenant header (pra_handler_opts.tenant_header_cstr), which is UTF-8, or empty. A
 * request with another one is refused: 400. */
PRA_API void pra_context_tenant(const pra_context *ctx, pra_str *out);
/** Path without the query string; the query string without '?'. */
PRA_API void pra_context_path(const pra_context *ctx, pra_str *out);
PRA_API void pra_context_query_string(const pra_context *ctx, pra_str *out);
/** As the host gave them; empty if it did not. */
PRA_API void pra_context_remote_addr(const pra_context *ctx, pra_str *out);
PRA_API void pra_context_user(const pra_context *ctx, pra_str *out);
/** First header of that name, ASCII case ignored. Returns 1, or 0 with *out empty. */
PRA_API int pra_context_header(const pra_context *ctx, pra_str name, pra_str *out);
/** All headers as received, but for white space around the values. */
PRA_API size_t pra_context_headers(const pra_context *ctx, const pra_header **out);
/** Number of the worker that serves the request, below the host's worker count: one request at a
 * time has it. */
PRA_API uint32_t pra_context_worker(const pra_context *ctx);
/** pra_request_head.host. */
PRA_API void *pra_context_host(const pra_context *ctx);

/* ── Storage trait ───────────────────────────────────────────────────────────────────────────── */

/** What became of a write beyond the return value. */
typedef struct pra_write_result pra_write_result;

enum {
    PRA_DATUM_SAMPLE = 0,
    PRA_DATUM_HISTOGRAM = 1,
    PRA_DATUM_EXEMPLAR = 2,
    PRA_DATUM_METADATA = 3,
    PRA_DATUM_SERIES = 4 /**< a series with all that it holds */
};

/** count data of a kind in series number series were refused for good, the rest is stored: the
 * answer becomes 400 with the reason [W-22], and the counts of what was written are less [W-25].
 * PRA_DATUM_SERIES: all that the series holds; count is ignored. Copies reason (one line). Never
 * fails: past the first few only counts are kept. */
PRA_API void pra_write_result_reject(pra_write_result *result, int32_t kind, size_t series,
                                     size_t count, pra_str reason);

/** The series that a query found, before their data: what select fills. */
typedef struct pra_series_list pra_series_list;

/** Adds a series; id says to fetch which one it is. Labels in any order; copies. Returns 0;
 * PRA_ERR_LABELS (and the series is not added); PRA_ERR_RESPONSE_TOO_LARGE (max_memory_bytes),
 * PRA_ERR_CANCELLED: then every further call returns the same, and so should the store. */
PRA_API int pra_series_list_add(pra_series_list *list, const pra_label *labels, size_t label_count,
                                uint64_t id, pra_error *err);

enum {
    /** process_query, or select and fetch, may run at the same time on several threads for one
       request */
    PRA_STORAGE_PARALLEL_QUERIES = 1,
    /** write keeps native histograms. Without this the handler refuses them: the rest is written,
     * and the sender is told with 400 [W-21]. */
    PRA_STORAGE_HISTOGRAMS = 2,
    /** write keeps exemplars. Without this the handler refuses those of remote write 2.0 likewise;
     * 1.0 lets them go unsaid, bad ones too. */
    PRA_STORAGE_EXEMPLARS = 4,
    /** process_query pushes series in the order of their labels, and goes on where it stopped: see
       there. For storages without select, fetch and read. */
    PRA_STORAGE_ORDERED = 8
};

/** The entries a storage implements. size and later fields as in options; a missing entry (NULL) is
 * answered with 404. Callbacks run on the thread that drives the exchange; different exchanges call
 * at the same time, so a storage locks what they share. Arguments are valid until the callback
 * returns, columns of a request too, unless it is kept by pra_write_request_share; ctx, result and
 * err are never NULL. Tenants are kept apart by the storage itself (pra_context_tenant). */
typedef struct pra_storage_vtbl {
    size_t size;
    uint32_t flags; /**< PRA_STORAGE_… */
    uint32_t reserved;
    /** Stores request, whose series are canonical (pra_write_request_canonicalize), before
     * returning. Returns PRA_OK (stored, except what result says; what is left out silently is lost
     * to the sender), PRA_ERR_REJECT, PRA_ERR_RETRY, PRA_ERR_USER. PRA_ERR_NOMEM and PRA_ERR_IO are
     * 503, PRA_ERR_NOT_SUPPORTED is 404; anything else nonzero counts as PRA_ERR_CALLBACK. After a
     * failure a part may be stored: the request comes again, and a sample that is there already
     * changes nothing. err->message (pra_error_set) goes to the sender. */
    int (*write)(void *self, const pra_context *ctx, const pra_write_request *request,
                 pra_write_result *result, pra_error *err);
    /** Pushes all series that satisfy the query into sink. Returns as write, or what the sink
     * returned; a limit it names is a 400.
     * With PRA_STORAGE_ORDERED each series comes behind the one before in the order of a streamed
     * answer: labels sorted by name, then compared name, value, name … as bytes; what
     * another begins with before it. One that does not, or comes twice, is PRA_ERR_CALLBACK. A
     * streamed answer then takes the memory of a piece, and of a series: pra_series_sink_add and
     * pra_series_sink_end return PRA_DONE when enough waits for the reader; they have taken the
     * series. Then process_query returns PRA_DONE too, and is called again with the same ctx and
     * query when the reader wants more; what it was at it keeps by pra_query_state. No lock or
     * transaction may be held between calls, which may come on different threads. PRA_OK: there is
     * no more. In sampled answers, and if the handler has external labels, no sink says PRA_DONE.
     */
    int (*process_query)(void *self, const pra_context *ctx, const pra_query *query,
                         pra_series_sink *sink, pra_error *err);
    /** Optional: answers all queries at once, sinks[i] taking the series of query i. NULL:
     * process_query, or select and fetch, are called for each. */
    int (*read)(void *self, const pra_context *ctx, const pra_read_request *request,
                pra_series_sink *const *sinks, pra_error *err);
    /** Optional: appends metrics in Prometheus' text format to out, for hosts that serve /metrics.
     * Called from any thread. */
    int (*metrics)(void *self, pra_buffer *out);
    /** Optional: frees self. Called exactly once: when the handler is freed, or when its creation
     * fails. */
    void (*destroy)(void *self);
    /** Optional, with fetch: lists the series that satisfy the query; those without data in its
     * time range may be among them. With these two an answer of any length takes the memory of its
     * series' labels and one frame; sampled answers use them too, and process_query and read are
     * not called and may be NULL. Returns as process_query. */
    int (*select)(void *self, const pra_context *ctx, const pra_query *query, pra_series_list *list,
                  pra_error *err);
    /** Pushes data of series id from from_ms on into sink, each time later than the one before, or
     * the read fails (pra_series_sink_samples, pra_series_sink_histograms, without begin and end;
     * samples and histograms of one series take turns as their times do). What is before from_ms or
     * outside the query's time range is passed over: a store may stop behind pra_query_end_ms.
     * Returns PRA_OK when there is no more; what the sink returned otherwise (PRA_DONE: the sink
     * has enough, fetch is called again with from_ms behind what it took). An id that is gone:
     * PRA_OK. No lock or transaction may be held between calls. A failure once the answer has begun
     * cuts the connection. */
    int (*fetch)(void *self, const pra_context *ctx, const pra_query *query, uint64_t id,
                 int64_t from_ms, pra_series_sink *sink, pra_error *err);
    /** Optional: frees what a storage left at pra_query_state. Called once for each that is not
     * NULL, when its query is over: answered, failed, or given up with the exchange (a next begin,
     * reset, free); on the thread that asked the query, or that gives it up. */
    void (*release)(void *self, void *state);
} pra_storage_vtbl;

/** A storage: vtbl is borrowed for the life of the handler (usually static), self is taken
 * (destroy). */
typedef struct pra_storage {
    const pra_storage_vtbl *vtbl;
    void *self;
} pra_storage;

/* ── Handler ─────────────────────────────────────────────────────────────────────────────────── */

/** The rules of the protocol over one storage: immutable, shared by all exchanges and threads. */
typedef struct pra_handler pra_handler;

/** Lets the default `read` run queries concurrently. parallel_for calls task(arg, i) for every i in
 * [0, n), on any threads, and returns when all have returned. Nonzero: it could not run them all;
 * the read fails with 503. */
typedef struct pra_executor {
    void *ctx;
    int (*parallel_for)(void *ctx, size_t n, void (*task)(void *arg, size_t index), void *arg);
} pra_executor;

/** The time, for a library that reads no clock. */
typedef struct pra_clock {
    void *ctx;
    /** Milliseconds since the Unix epoch; from any thread. NULL with a ctx: that points to an
     * int64_t where the host writes the time before pra_exchange_end, and that outlives the
     * handler. */
    int64_t (*now_ms)(void *ctx);
} pra_clock;

typedef struct pra_handler_opts {
    size_t size;
    const pra_limits *limits;       /**< NULL = defaults; copied */
    const char *tenant_header_cstr; /**< NULL = "X-Scope-OrgID"; copied; "" = no tenant header */
    pra_executor executor;          /**< fn NULL = queries run one after the other */
    uint64_t max_head_bytes;        /**< method, target and headers; default 64 KiB */
    uint32_t accepted_messages; /**< bits 1 << PRA_WRITE_…; 0 = both; the other is 415 [W-04] */
    uint32_t response_types;    /**< bits 1 << PRA_RESPONSE_…; 0 = both [R-02] */
    uint32_t canonical_flags;   /**< PRA_CANONICAL_…, for pra_write_request_canonicalize */
    uint32_t reserved;
    /** Labels that stand for this storage as a whole: merged into every series of an answer, whose
     * own label of that name wins; a matcher that asks for just one of them reaches the storage as
     * one for no such label. Copied. Not empty, no name twice. */
    const pra_label *external_labels;
    size_t external_label_count;
    /** Matchers on labels of these names are left out of queries. Copied. */
    const char *const *ignored_matchers_cstr;
    size_t ignored_matcher_count;
    /** What is younger than read_delay_ms or older than read_max_age_ms is not read; 0 = off. They
     * need the clock. */
    uint64_t read_delay_ms;
    uint64_t read_max_age_ms;
    pra_clock clock;
} pra_handler_opts;

/** Zeroes size bytes and sets size. */
PRA_API int pra_handler_opts_init(pra_handler_opts *opts, size_t size);

/** Returns new (free with pra_handler_free). Takes storage->self in every case: when creation
 * fails, destroy has run. opts NULL = defaults. */
PRA_API int pra_handler_new(const pra_alloc *alloc, const pra_storage *storage,
                            const pra_handler_opts *opts, pra_handler **out, pra_error *err);
/** NULL is allowed. All its exchanges must have been freed. */
PRA_API void pra_handler_free(pra_handler *handler);
/** The limits in force, every field set. Set out->size first. */
PRA_API int pra_handler_limits(const pra_handler *handler, pra_limits *out);
/** Calls the storage's metrics entry, if it has one. */
PRA_API int pra_handler_metrics(pra_handler *handler, pra_buffer *out);

/** One HTTP request and its answer; reusable for any number of requests, one after the other. */
typedef struct pra_exchange pra_exchange;

/** Returns new (free with pra_exchange_free). alloc NULL = the handler's. */
PRA_API int pra_exchange_new(pra_handler *handler, const pra_alloc *alloc, pra_exchange **out);
/** NULL is allowed. */
PRA_API void pra_exchange_free(pra_exchange *x);

enum {
    PRA_ENDPOINT_AUTO = 0, /**< by the last segment of the path: write or receive, read; else 404 */
    PRA_ENDPOINT_WRITE = 1,
    PRA_ENDPOINT_READ = 2
};

typedef struct pra_request_head {
    size_t size;
    pra_str method;
    pra_str target; /**< path and query string as on the request line */
    const pra_header *headers;
    size_t header_count;
    pra_str remote_addr; /**< may be empty */
    pra_str user;        /**< authenticated user; may be empty */
    int32_t endpoint;    /**< PRA_ENDPOINT_… */
    uint32_t worker;     /**< see pra_context_worker */
    void *host;          /**< see pra_context_host; may be NULL */
    /** Nonzero: nobody waits for the answer any more (the client is gone); it stays so. Optional.
     * Asked with host before each series and each piece of a read, on every thread that works on
     * it: so it should be quick. Sinks and lists then return PRA_ERR_CANCELLED, and so does
     * pra_exchange_body. Writes are not cancelled. host must live until the next begin, reset or
     * free. */
    int (*cancelled)(void *host);
} pra_request_head;

/** Begins a request, ending whatever the exchange did before. Copies head.
 *  Returns PRA_OK: feed the body; PRA_DONE: the answer stands already (the body may be skipped).
 * Everything the peer did wrong becomes an answer, not an error. */
PRA_API int pra_exchange_begin(pra_exchange *x, const pra_request_head *head);
/** Lets go of the request, its answer, and what the storage keeps with its queries
 * (pra_storage_vtbl.release), for hosts that stop in the middle; memory is kept as between two
 * requests. Does nothing from within a callback. NULL is allowed. */
PRA_API void pra_exchange_reset(pra_exchange *x);
/** Adds a piece of the body. Copies. Returns PRA_OK, or PRA_DONE as above. */
PRA_API int pra_exchange_feed(pra_exchange *x, const void *data, size_t len);
/** Ends the body: decompresses, decodes, checks. Returns PRA_OK: the storage is to be asked;
 * PRA_DONE: the answer stands. */
PRA_API int pra_exchange_end(pra_exchange *x);

/** Driven use: asks the storage; for a streamed answer over select and fetch, or of a
 * PRA_STORAGE_ORDERED, no further than its first piece. Afterwards the answer stands. Returns
 * PRA_OK; PRA_ERR_USER if a callback returned it (the answer is a 500). */
PRA_API int pra_exchange_run(pra_exchange *x);

/* Stepped use: the host does the storage's work itself, on any thread, one at a time. */

enum { PRA_STEP_WRITE = 1, PRA_STEP_READ = 2, PRA_STEP_RESPOND = 3 };

/** What is to be done next: PRA_STEP_…; PRA_ERR_STATE before pra_exchange_end. */
PRA_API int pra_exchange_step(const pra_exchange *x);
PRA_API const pra_context *pra_exchange_context(const pra_exchange *x);
/** Only in PRA_STEP_WRITE, else NULL; valid until pra_exchange_finish, or longer for whoever shares
 * it (pra_write_request_share). */
PRA_API const pra_write_request *pra_exchange_write_request(const pra_exchange *x);
/** Likewise. */
PRA_API pra_write_result *pra_exchange_write_result(pra_exchange *x);
/** Only in PRA_STEP_READ, else NULL; valid until pra_exchange_finish. */
PRA_API const pra_read_request *pra_exchange_read_request(const pra_exchange *x);
/** Sink of query number index, valid until pra_exchange_finish; NULL if there is none. Different
 * sinks may be filled by different threads. */
PRA_API pra_series_sink *pra_exchange_sink(pra_exchange *x, size_t index);
/** Hands in the outcome, as write or read would return it; err may be NULL. Afterwards the answer
 * stands. */
PRA_API int pra_exchange_finish(pra_exchange *x, int code, const pra_error *err);

/* The answer, once it stands. */

/** 0 before the answer stands. */
PRA_API int32_t pra_exchange_status(const pra_exchange *x);
/** Content-Type, Content-Encoding and the like; Content-Length is the host's. Valid until the next
 * begin. Returns their number. */
PRA_API size_t pra_exchange_headers(const pra_exchange *x, const pra_header **out);
/** Length of the body if it is known beforehand, else UINT64_MAX (streamed answers: send them with
 * chunked encoding, and without a Content-Length). */
PRA_API uint64_t pra_exchange_body_length(const pra_exchange *x);
/** Next piece of the body, valid until the next call. Of a streamed answer pieces have 64 KiB or
 * more, but for the last; the storage's select and fetch, or its process_query with
 * PRA_STORAGE_ORDERED, are called from here, so a host that does not ask lets the storage rest.
 * Returns PRA_OK with a piece, PRA_DONE at the end, or an error, then again and again: abort the
 * connection, so that the reader sees that the answer is cut off. */
PRA_API int pra_exchange_body(pra_exchange *x, const void **data, size_t *len);
/** What went wrong, code 0 if nothing; valid until the next begin. Never NULL. */
PRA_API const pra_error *pra_exchange_error(const pra_exchange *x);

/** For metrics and logs; of a streamed answer complete after the last piece of the body. Set size
 * first. */
typedef struct pra_exchange_stats {
    size_t size;
    int32_t endpoint; /**< PRA_ENDPOINT_WRITE, PRA_ENDPOINT_READ, or PRA_ENDPOINT_AUTO where none
                         was found */
    int32_t status;   /**< HTTP */
    int32_t code;     /**< PRA_OK or the error's code */
    int32_t version; /**< PRA_WRITE_V1 or PRA_WRITE_V2; for reads the response type; -1 where it was
                        not reached */
    uint64_t body_bytes;
    uint64_t decoded_bytes;
    uint64_t response_bytes; /**< of a streamed answer: given out so far */
    uint64_t series;         /**< received, or sent */
    uint64_t samples;
    uint64_t histograms;
    uint64_t exemplars;
    uint64_t metadata;
    uint64_t rejected_samples;
    uint64_t rejected_series; /**< refused as a whole, before the storage saw them */
    uint64_t queries;
} pra_exchange_stats;

PRA_API int pra_exchange_get_stats(const pra_exchange *x, pra_exchange_stats *out);

#ifdef __cplusplus
}
#endif
#endif /* PRA_H */
