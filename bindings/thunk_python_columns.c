/* SPDX-License-Identifier: Apache-2.0 */
/* Columns without a copy: memoryviews of C memory.
 *
 * Behind each memoryview is a column object. It lives as long as anything looks into its memory:
 * the memoryview itself, a slice of it, an array made from it. So when the call is over, the
 * memoryviews handed out are released; where column objects are left after that, the memory is
 * kept. */
#include "thunk_python_write.h"

#include <string.h>

typedef struct pra__py_column {
    PyObject_HEAD pra__py_memory *memory;
    struct pra__py_column *next, **link; /* link NULL: not in the memory's list */
    PyObject *view;                      /* weak reference to the memoryview; NULL: none */
    const pra__py_field *field;
    const void *data;
    Py_ssize_t shape[2];
    Py_ssize_t strides[2];
} column;

#define FIELD(name, count, format, type)                                                           \
    {                                                                                              \
        offsetof(pra_columns, name), offsetof(pra_columns, count), 0, format, sizeof(type), 0, 0   \
    }

const pra__py_field pra__py_timestamps = FIELD(timestamps_ms, sample_count, "q", int64_t);
const pra__py_field pra__py_values = FIELD(values, sample_count, "d", double);
const pra__py_field pra__py_starts = {.data = offsetof(pra_columns, start_timestamps_ms),
                                      .count = offsetof(pra_columns, sample_count),
                                      .format = "q",
                                      .itemsize = sizeof(int64_t),
                                      .may_be_absent = 1};

/* ---- the object behind a memoryview */

static void unlink_column(column *c)
{
    if (c->link) {
        *c->link = c->next;
        if (c->next) {
            c->next->link = c->link;
        }
        c->link = NULL;
    }
}

static void column_dealloc(PyObject *self)
{
    column *c = (column *)self;
    unlink_column(c);
    Py_XDECREF(c->view);
    Py_DECREF(c->memory);
    Py_TYPE(self)->tp_free(self);
}

static int column_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    column *c = (column *)self;
    const int ndim = c->field->width ? 2 : 1;
    if (flags & PyBUF_WRITABLE) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "columns of a request cannot be written to");
        return -1;
    }
    *view = (Py_buffer){.obj = Py_NewRef(self),
                        .buf = (void *)(uintptr_t)c->data,
                        .len = c->shape[0] * c->strides[0],
                        .itemsize = c->field->itemsize,
                        .readonly = 1,
                        .ndim = ndim};
    if (flags & PyBUF_FORMAT) {
        view->format = (char *)(uintptr_t)c->field->format;
    }
    if (flags & PyBUF_ND) {
        view->shape = c->shape;
    }
    if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES) {
        view->strides = c->strides;
    }
    return 0;
}

static PyBufferProcs column_buffer = {.bf_getbuffer = column_getbuffer};

static PyTypeObject column_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api._pra.Column",
    .tp_doc = "Memory of a request, behind a memoryview.",
    .tp_basicsize = sizeof(column),
    .tp_dealloc = column_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_as_buffer = &column_buffer,
};

static column *column_new(pra__py_memory *memory, const pra__py_field *field, const void *data,
                          size_t count)
{
    static const int64_t nothing; /* to point at */
    const Py_ssize_t width = field->width ? field->width : 1;
    column *c = PyObject_New(column, &column_type);
    if (c) {
        c->memory = (pra__py_memory *)Py_NewRef((PyObject *)memory);
        c->next = NULL;
        c->link = NULL;
        c->view = NULL;
        c->field = field;
        c->data = count ? data : &nothing;
        c->shape[0] = (Py_ssize_t)count;
        c->shape[1] = width;
        c->strides[0] = width * field->itemsize;
        c->strides[1] = field->itemsize;
    }
    return c;
}

/* From now on the end of the call ends view, which is of c. */
static int lend(column *c, PyObject *view)
{
    c->view = PyWeakref_NewRef(view, NULL);
    if (!c->view) {
        return -1;
    }
    c->next = c->memory->lent;
    c->link = &c->memory->lent;
    if (c->next) {
        c->next->link = &c->next;
    }
    c->memory->lent = c;
    return 0;
}

/* ---- columns of a request */

PyObject *pra__py_column_view(pra__py_memory *memory, int has_scope, const pra__py_field *field,
                              size_t start, size_t count)
{
    const char *data;
    memcpy(&data, (const char *)&memory->columns + field->data, sizeof data);
    if (!data && field->may_be_absent) {
        Py_RETURN_NONE;
    }
    const size_t stride = (size_t)(field->itemsize * (field->width ? field->width : 1));
    column *c = column_new(memory, field, count ? data + start * stride : NULL, count);
    PyObject *view = c ? PyMemoryView_FromObject((PyObject *)c) : NULL;
    if (view && has_scope && lend(c, view)) {
        Py_CLEAR(view);
    }
    Py_XDECREF(c);
    return view;
}

PyObject *pra__py_column_all(pra__py_memory *memory, int has_scope, const pra__py_field *field)
{
    size_t count;
    memcpy(&count, (const char *)&memory->columns + field->count, sizeof count);
    return pra__py_column_view(memory, has_scope, field, 0, count + field->extra);
}

/* ---- memory */

/* A request that nobody has any more, with the room it took: fresh memory takes longer than
 * decoding into it. The GIL guards it. */
static pra_write_request *idle;

pra_write_request *pra__py_memory_idle(void)
{
    pra_write_request *request = idle;
    idle = NULL;
    return request;
}

void pra__py_memory_give(pra_write_request *request)
{
    if (request && !idle) {
        pra_write_request_reset(request); /* does nothing if there are other owners */
        if (pra_write_request_version(request) == 0) {
            idle = request;
            return;
        }
    }
    pra_write_request_free(request);
}

static void memory_dealloc(PyObject *self)
{
    pra__py_memory *m = (pra__py_memory *)self;
    for (size_t i = 0; m->symbols && i < m->columns.symbol_count; i++) {
        Py_XDECREF(m->symbols[i]);
    }
    PyMem_Free(m->symbols);
    Py_XDECREF(m->fingerprints);
    if (m->is_own) {
        pra__py_memory_give(m->request);
    }
    Py_TYPE(self)->tp_free(self);
}

static PyTypeObject memory_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api._pra.Memory",
    .tp_doc = "Memory of a decoded request.",
    .tp_basicsize = sizeof(pra__py_memory),
    .tp_dealloc = memory_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

pra__py_memory *pra__py_memory_new(const pra_write_request *request, int is_own)
{
    pra__py_memory *m = PyObject_New(pra__py_memory, &memory_type);
    if (!m) {
        if (is_own) {
            pra_write_request_free((pra_write_request *)(uintptr_t)request);
        }
        return NULL;
    }
    m->request = (pra_write_request *)(uintptr_t)request;
    m->is_own = is_own;
    m->version = pra_write_request_version(request);
    m->columns = (pra_columns){.size = sizeof m->columns};
    m->symbols = NULL;
    m->fingerprints = NULL;
    m->lent = NULL;
    if (pra_write_request_columns(request, &m->columns)) {
        Py_CLEAR(m);
        PyErr_SetString(PyExc_SystemError, "no columns");
    }
    return m;
}

void pra__py_memory_keep(pra__py_memory *m)
{
    if (!m->is_own) {
        m->request = pra_write_request_share(m->request);
        m->is_own = 1;
    }
}

static PyObject *view_of(const column *c)
{
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *view = NULL;
    (void)PyWeakref_GetRef(c->view, &view);
    return view;
#else
    PyObject *view = PyWeakref_GetObject(c->view);
    return view == Py_None ? NULL : Py_NewRef(view);
#endif
}

/* A view with exports of its own (to an Arrow buffer, say) cannot be released: it stays. */
static void release_view(const column *c)
{
    PyObject *view = view_of(c);
    PyObject *done = view ? PyObject_CallMethod(view, "release", NULL) : NULL;
    if (view && !done) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
    Py_XDECREF(view);
}

void pra__py_memory_end(pra__py_memory *m)
{
    PyObject *type, *value, *traceback;
    if (!m->lent) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    for (column *c = m->lent, *next; c; c = next) {
        Py_INCREF(c);
        release_view(c);
        next = c->next;
        Py_DECREF(c);
    }
    if (m->lent) {
        pra__py_memory_keep(m);
    }
    PyErr_Restore(type, value, traceback);
}

int pra__py_columns_init(PyObject *module)
{
    (void)module;
    return PyType_Ready(&column_type) || PyType_Ready(&memory_type) ? -1 : 0;
}
