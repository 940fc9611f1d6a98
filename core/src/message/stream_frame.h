/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a streamed answer: ChunkedReadResponse messages of one series each. Memory is bounded
 * by one frame if the caller takes the bytes out of the buffer whenever a frame is complete. */
#ifndef PRA_MESSAGE_STREAM_FRAME_H
#define PRA_MESSAGE_STREAM_FRAME_H

#include "base/buffer.h"
#include "pra.h"

struct pra__stream_frames {
    pra_buffer *out;
    const uint8_t *labels;
    size_t labels_len;
    int64_t query_index;
    int64_t budget; /* bytes of chunks that a frame takes before it is closed */
    int64_t left;
    size_t start; /* of the open frame in out */
    int open;
};

/* Begins a series. out, and labels, which are label fields (number 1) as series have them, are
 * borrowed until the end. What is in out stays before the frames. */
void pra__stream_frames_begin(struct pra__stream_frames *f, pra_buffer *out, int64_t query_index,
                              uint64_t max_frame_bytes, const uint8_t *labels, size_t labels_len);
/* Appends a chunk. Returns PRA_OK: the frame is open, its bytes must stay where they are; PRA_DONE:
 * the frame is complete and none is open, so that out may be emptied; PRA_ERR_NOMEM: out is as it
 * was. */
int pra__stream_frames_chunk(struct pra__stream_frames *f, int32_t type, int64_t min_ms,
                             int64_t max_ms, const void *data, size_t len);
/* Completes the frame that is open, if one is. */
void pra__stream_frames_end(struct pra__stream_frames *f);

#endif
