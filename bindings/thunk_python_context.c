/* SPDX-License-Identifier: Apache-2.0 */
/* What a storage is told about the HTTP request. */
#include "thunk_python.h"

typedef struct context {
    PyObject_HEAD pra__py_scope *scope;
    const pra_context *ctx;
} context;

typedef struct text_getter {
    void (*fn)(const pra_context *ctx, pra_str *out);
} text_getter;

static text_getter tenant_getter = {pra_context_tenant};
static text_getter path_getter = {pra_context_path};
static text_getter query_string_getter = {pra_context_query_string};
static text_getter remote_addr_getter = {pra_context_remote_addr};
static text_getter user_getter = {pra_context_user};

static PyObject *context_text(PyObject *self, void *getter)
{
    const context *c = (context *)self;
    pra_str text;
    if (pra__py_scope_enter(c->scope)) {
        return NULL;
    }
    ((const text_getter *)getter)->fn(c->ctx, &text);
    PyObject *result = pra__py_str(text);
    pra__py_scope_leave(c->scope);
    return result;
}

static PyObject *context_worker(PyObject *self, void *unused)
{
    const context *c = (context *)self;
    (void)unused;
    if (pra__py_scope_enter(c->scope)) {
        return NULL;
    }
    PyObject *result = PyLong_FromUnsignedLong(pra_context_worker(c->ctx));
    pra__py_scope_leave(c->scope);
    return result;
}

/* A name that comes twice gets its values joined, as HTTP allows. */
static int headers_add(PyObject *headers, const pra_header *header)
{
    PyObject *raw = pra__py_str(header->name);
    PyObject *name = raw ? PyObject_CallMethod(raw, "lower", NULL) : NULL;
    PyObject *value = name ? pra__py_str(header->value) : NULL;
    PyObject *before = value ? PyDict_GetItemWithError(headers, name) : NULL;
    if (before) {
        Py_SETREF(value, PyUnicode_FromFormat("%U, %U", before, value));
    }
    int code = value && !PyErr_Occurred() ? PyDict_SetItem(headers, name, value) : -1;
    Py_XDECREF(raw);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return code;
}

static PyObject *context_headers(PyObject *self, void *unused)
{
    const context *c = (context *)self;
    const pra_header *items;
    (void)unused;
    if (pra__py_scope_enter(c->scope)) {
        return NULL;
    }
    PyObject *headers = PyDict_New();
    size_t count = pra_context_headers(c->ctx, &items);
    for (size_t i = 0; headers && i < count; i++) {
        if (headers_add(headers, &items[i])) {
            Py_CLEAR(headers);
        }
    }
    pra__py_scope_leave(c->scope);
    return headers;
}

static void context_dealloc(PyObject *self)
{
    Py_XDECREF(((context *)self)->scope);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef context_getset[] = {
    {"tenant", context_text, NULL,
     "Value of the tenant header (X-Scope-OrgID unless an option says otherwise), or ''.",
     &tenant_getter},
    {"path", context_text, NULL, "Path of the request, without what follows the '?'.",
     &path_getter},
    {"query_string", context_text, NULL, "What follows the '?'.", &query_string_getter},
    {"remote_addr", context_text, NULL, "Address of the sender, as the host knows it, or ''.",
     &remote_addr_getter},
    {"user", context_text, NULL,
     "Authenticated user, or '': of the web configuration, or as the host says.", &user_getter},
    {"headers", context_headers, NULL, "A dict of all headers, names in lower case.", NULL},
    {"worker", context_worker, NULL,
     "Number of the worker that serves the request, below Server's workers: one request at a time "
     "has it, so that it can choose a database connection, say.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject context_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "prom_remote_api.Context",
    .tp_doc = "What a storage may know about the HTTP request.",
    .tp_basicsize = sizeof(context),
    .tp_dealloc = context_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_getset = context_getset,
};

PyObject *pra__py_context_new(pra__py_scope *scope, const pra_context *ctx)
{
    context *c = PyObject_New(context, &context_type);
    if (c) {
        c->scope = (pra__py_scope *)Py_NewRef((PyObject *)scope);
        c->ctx = ctx;
    }
    return (PyObject *)c;
}

int pra__py_context_init(PyObject *module)
{
    return PyModule_AddType(module, &context_type);
}
