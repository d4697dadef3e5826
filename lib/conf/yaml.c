/* lib/conf/yaml.c - one small YAML document as a tree of nodes. */
#include "conf/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/opt.h"

enum { FILE_MAX = 1 << 20, DEPTH_MAX = 32, KEYS_MAX = 1000 };

struct builder {
    struct ral_yaml *y;
    yaml_parser_t parser;
    struct ral_err *err;
};

static int fail(struct builder *b, const yaml_mark_t *at, const char *what)
{
    return ral_err_set(b->err, -RAL_EINVAL, "%s:%zu:%zu: %s", b->y->path,
                       at->line + 1, at->column + 1, what);
}

static int next_event(struct builder *b, yaml_event_t *e)
{
    const yaml_parser_t *p = &b->parser;

    if (yaml_parser_parse(&b->parser, e))
        return 0;
    if (p->error == YAML_MEMORY_ERROR)
        return ral_err_nomem(b->err, "%s", b->y->path);
    if (p->error == YAML_READER_ERROR)
        return ral_err_set(b->err, -RAL_EINVAL, "%s: byte %zu: %s", b->y->path,
                           p->problem_offset, p->problem);
    return fail(b, &p->problem_mark, p->problem ? p->problem : "not YAML");
}

/* Anchors and tags have no use in a recipe. */
static int check_plain(struct builder *b, const yaml_event_t *e)
{
    const unsigned char *anchor = NULL, *tag = NULL;

    if (e->type == YAML_ALIAS_EVENT) {
        anchor = e->data.alias.anchor;
    } else if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor)
        return fail(b, &e->start_mark,
                    "anchors and aliases are not supported; write it out");
    if (tag)
        return fail(b, &e->start_mark, "tags are not supported");
    return 0;
}

static int make_scalar(struct builder *b, const yaml_event_t *e,
                       struct ral_yaml_node *v)
{
    const char *text = (const char *)e->data.scalar.value;
    const size_t len = e->data.scalar.length;

    if (memchr(text, 0, len))
        return fail(b, &e->start_mark, "a NUL in a text");
    v->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    v->text = ral_arena_text(&b->y->arena, text, len);
    return v->text ? 0 : ral_err_nomem(b->err, "%s", b->y->path);
}

static int make_node(struct builder *b, const yaml_event_t *e, int depth,
                     struct ral_yaml_node **out);

static int check_unique(struct builder *b, const struct ral_yaml_node *parent,
                        const struct ral_yaml_node *v)
{
    for (const struct ral_yaml_node *o = parent->first; o; o = o->next)
        if (o->key && !strcmp(o->key, v->key))
            return ral_err_set(b->err, -RAL_EINVAL,
                               "%s:%zu:%zu: key '%s' again; the first is on "
                               "line %zu",
                               b->y->path, v->key_line, v->key_column, v->key,
                               o->key_line);
    return 0;
}

/* A key's event, then its value. */
static int make_entry(struct builder *b, const yaml_event_t *key, int depth,
                      const struct ral_yaml_node *parent,
                      struct ral_yaml_node **out)
{
    struct ral_yaml_node name = {0};
    yaml_event_t e;
    int rc;

    if (key->type != YAML_SCALAR_EVENT && key->type != YAML_ALIAS_EVENT)
        return fail(b, &key->start_mark, "a key must be a name");
    if (parent->n == KEYS_MAX)
        return fail(b, &key->start_mark, "too many keys in one mapping");
    if ((rc = check_plain(b, key)) < 0 ||
        (rc = make_scalar(b, key, &name)) < 0 || (rc = next_event(b, &e)) < 0)
        return rc;
    if ((rc = make_node(b, &e, depth, out)) == 0) {
        (*out)->key = name.text;
        (*out)->key_line = key->start_mark.line + 1;
        (*out)->key_column = key->start_mark.column + 1;
        rc = check_unique(b, parent, *out);
    }
    yaml_event_delete(&e);
    return rc;
}

static int make_children(struct builder *b, struct ral_yaml_node *v, int depth)
{
    struct ral_yaml_node **tail = &v->first;
    const bool map = v->type == RAL_YAML_MAPPING;
    yaml_event_t e;
    int rc;

    for (;;) {
        struct ral_yaml_node *child = NULL;

        if ((rc = next_event(b, &e)) < 0)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT ||
            e.type == YAML_MAPPING_END_EVENT)
            break;
        rc = map ? make_entry(b, &e, depth, v, &child)
                 : make_node(b, &e, depth, &child);
        yaml_event_delete(&e);
        if (rc < 0)
            return rc;
        *tail = child;
        tail = &child->next;
        v->n++;
    }
    yaml_event_delete(&e);
    return 0;
}

static int make_node(struct builder *b, const yaml_event_t *e, int depth,
                     struct ral_yaml_node **out)
{
    struct ral_yaml_node *v = RAL_ZNEW(&b->y->arena, struct ral_yaml_node, 1);
    int rc;

    if (!v)
        return ral_err_nomem(b->err, "%s", b->y->path);
    if ((rc = check_plain(b, e)) < 0)
        return rc;
    if (depth == DEPTH_MAX)
        return fail(b, &e->start_mark, "nested too deep");
    v->line = e->start_mark.line + 1;
    v->column = e->start_mark.column + 1;
    *out = v;
    if (e->type == YAML_SCALAR_EVENT)
        return make_scalar(b, e, v);
    v->type = e->type == YAML_MAPPING_START_EVENT ? RAL_YAML_MAPPING
                                                  : RAL_YAML_SEQUENCE;
    return make_children(b, v, depth + 1);
}

static int make_document(struct builder *b)
{
    yaml_event_t e;
    int rc, documents = 0;

    for (;;) {
        yaml_event_type_t type;

        if ((rc = next_event(b, &e)) < 0)
            return rc;
        type = e.type;
        if (type == YAML_DOCUMENT_START_EVENT && documents++)
            rc = fail(b, &e.start_mark, "a second document");
        else if (type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
                 type == YAML_SEQUENCE_START_EVENT ||
                 type == YAML_MAPPING_START_EVENT)
            rc = make_node(b, &e, 0, &b->y->root);
        yaml_event_delete(&e);
        if (rc < 0 || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

int ral_yaml_parse(struct ral_yaml **out, const char *text, size_t len,
                   const char *path, struct ral_err *err)
{
    struct ral_yaml *y = calloc(1, sizeof(*y));
    struct builder b = {.y = y, .err = err};
    int rc;

    *out = NULL;
    if (!y || !(y->path = ral_arena_text(&y->arena, path, strlen(path))) ||
        !yaml_parser_initialize(&b.parser)) {
        ral_yaml_free(y);
        return ral_err_nomem(err, "%s", path);
    }
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
    rc = make_document(&b);
    yaml_parser_delete(&b.parser);
    if (rc == 0 && !y->root) {
        y->root = RAL_ZNEW(&y->arena, struct ral_yaml_node, 1);
        if (y->root)
            *y->root = (struct ral_yaml_node){
                .type = RAL_YAML_MAPPING, .line = 1, .column = 1};
        else
            rc = ral_err_nomem(err, "%s", path);
    }
    if (rc < 0)
        ral_yaml_free(y);
    else
        *out = y;
    return rc;
}

int ral_yaml_read(struct ral_yaml **out, const char *path, struct ral_err *err)
{
    struct ral_buf b = {0};
    int rc;

    *out = NULL;
    if ((rc = ral_file_read(path, FILE_MAX, &b, err)) == 0)
        rc = ral_yaml_parse(out, (const char *)b.data, b.len, path, err);
    ral_buf_release(&b);
    return rc;
}

void ral_yaml_free(struct ral_yaml *y)
{
    if (!y)
        return;
    ral_arena_release(&y->arena);
    free(y);
}

const struct ral_yaml_node *ral_yaml_get(const struct ral_yaml_node *from,
                                         const char *path)
{
    while (from && *path) {
        const size_t n = strcspn(path, ".");
        const struct ral_yaml_node *v = NULL;

        if (from->type == RAL_YAML_MAPPING)
            for (v = from->first; v; v = v->next)
                if (!strncmp(v->key, path, n) && !v->key[n])
                    break;
        from = v;
        path += n + (path[n] == '.');
    }
    return from;
}

int ral_yaml_bool(const struct ral_yaml_node *v, bool *out)
{
    if (v->type != RAL_YAML_SCALAR || !v->plain ||
        (strcmp(v->text, "true") && strcmp(v->text, "false")))
        return -RAL_EINVAL;
    *out = v->text[0] == 't';
    return 0;
}

int ral_yaml_i64(const struct ral_yaml_node *v, int64_t *out)
{
    if (v->type != RAL_YAML_SCALAR || !v->plain)
        return -RAL_EINVAL;
    return ral_parse_i64(v->text, out);
}

int ral_yaml_f64(const struct ral_yaml_node *v, double *out)
{
    if (v->type != RAL_YAML_SCALAR || !v->plain ||
        strspn(v->text, "+-.0123456789eE") != strlen(v->text))
        return -RAL_EINVAL;
    return ral_parse_f64(v->text, out);
}

bool ral_yaml_is_null(const struct ral_yaml_node *v)
{
    return v->type == RAL_YAML_SCALAR && v->plain &&
           (!*v->text || !strcmp(v->text, "~") || !strcmp(v->text, "null"));
}
