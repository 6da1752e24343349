"""Manifests good and bad, from a seed: documents that use every field, and mutations of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

from pgvillage.estate.yaml12 import parse_documents

Document = dict[str, Any]
Place = tuple[str | int, ...]

GOOD = """
apiVersion: pgvillage/v1
kind: Estate
metadata: {name: acme, labels: {a/b: c, d: ""}, annotations: {note: "free text"}}
spec:
  defaults:
    authority: {roles: none, memberships: listed, privileges: [table, schema], public: listed}
    parameters: {work_mem: 64MB, jit: true, max_wal_senders: 10, seq_page_cost: 1.5}
    user: {connectionLimit: 5, settings: {statement_timeout: 5min}}
    heir: owner
    externalRoles: [replicator, Ops Team]
  profiles: {reporter: {database: [CONNECT], schema: [USAGE], table: [SELECT], sequence: [SELECT]}}
  policy:
    correct: all
    limits: {drop: {count: 3, share: 10%}, revoke: {count: 0, share: 100%}}
    windows: [{days: [sat, sun], from: "22:00", to: "04:00", timeZone: Europe/Amsterdam, labels: {env: prod}}]
  notifications: [{channel: dba, labels: {env: prod}}]
---
apiVersion: pgvillage/v1
kind: Cluster
metadata: {name: orders, labels: {env: prod}}
spec:
  connection: {hosts: ["pg1.example:5432", "[::1]:5433", /run/postgresql], credential: orders-admin, sslmode: require}
  ha: {engine: stolon, etcd: etcd-a, cluster: orders, synchronous: {min: 1, max: 2}, timings: {sleepInterval: 5s}}
  authority: {privileges: []}
  policy: {correct: off}
  postgres:
    version: 16
    parameters: {work_mem: 64MB, jit: null, pg_stat_statements.max: 1000}
    hba:
    - {type: hostssl, database: orders, role: app, address: 10.2.0.0/16, method: scram-sha-256, options: {a: b}}
    - {type: local, database: all, role: all, method: peer}
  databases:
  - name: orders
    owner: orders_owner
    extensions: [citext, {name: postgis, version: "3.4", schema: gis, cascade: true, ensure: present}]
    schemas: [{name: app, owner: orders_owner, comment: hello}]
    public:
      {database: [CONNECT], schemas: {public: [USAGE]}, functions: {app: []}, future: {creators: [o], type: []}}
    settings: {work_mem: 1GB}
    foreignDataWrappers:
    - {name: w, handler: {schema: s, name: h}, validator: null, extension: e, owner: o}
    - {name: v, options: {a: b}, comment: c, ensure: present}
    foreignServers:
    - name: far
      wrapper: w
      type: t
      version: "1"
      owner: orders_owner
      options: {host: h}
      comment: c
      userMappings:
      - {role: public, options: {user: u}, secretOptions: {password: {secret: orders-app}}, ensure: present}
      ensure: present
  - {name: old, ensure: absent, deletionProtection: false}
  externalRoles: [replicator]
  tablespaces:
  - name: fast
    location: /srv/fast
    owner: o
    comment: c
    settings: {seq_page_cost: 1.5, random_page_cost: 1.1, effective_io_concurrency: 1, maintenance_io_concurrency: 2}
    ensure: present
  replicationSlots: [{name: s, ensure: absent}, {name: l, plugin: p, database: orders, twoPhase: true, failover: false}]
---
apiVersion: pgvillage/v1
kind: Cluster
metadata: {name: crm}
spec:
  nodes: [{name: pg1, address: 10.1.0.11}, {name: pg2, address: 10.1.0.12}]
  witness: 10.1.0.13
  ha: {engine: stolon, synchronous: false, timings: fast}
  backup: {store: minio, schedule: "15 1 * * *", from: standby, keep: {full: 4}, verify: {restore: 7d}}
  connect: {vip: {address: 10.1.0.10/24, via: haproxy}}
---
apiVersion: pgvillage/v1
kind: Database
metadata: {name: reporting}
spec:
  database: Reporting
  clusters: {labels: {team: shop}}
  owner: orders_owner
  encoding: UTF8
  locale: C
  localeProvider: icu
  icuLocale: nl-NL
  tablespace: fast
  isTemplate: false
  template: template0
  connectionLimit: -1
  allowConnections: true
  comment: null
  extensions: [citext]
---
apiVersion: pgvillage/v1
kind: User
metadata: {name: orders-app}
spec:
  role: orders_app
  clusters: {names: [orders]}
  auth: {method: scram, password: {secret: orders-app}}
  memberOf: [orders_rw, {role: pg_monitor, admin: false, inherit: true, set: null}]
  connectionLimit: 20
  validUntil: 2027-06-30
  settings: {statement_timeout: 5min}
  databaseSettings: {orders: {work_mem: 1GB}}
  privileges:
  - {profile: reader, database: orders, schemas: [app], tables: [a], sequences: [], future: {creators: [orders_owner]}}
  - {grant: {schema: [USAGE], table: [ALL]}, database: orders, schemas: [app], grantOption: true}
  - {grant: {table: [SELECT]}, database: orders, schemas: [app], tables: [a], columns: [b]}
  - {grant: {function: [EXECUTE], type: [ALL]}, database: orders, schemas: [app], functions: ["f(int)"], types: [t]}
  - {grant: {schema: [USAGE], largeObject: [SELECT]}, database: orders, future: {creators: [orders_owner]}}
  - {grant: {language: [USAGE]}, database: orders, languages: [plpgsql]}
  - {grant: {parameter: [SET, ALTER SYSTEM], tablespace: [CREATE]}, parameters: [work_mem], tablespaces: [fast]}
  heir: orders_owner
---
apiVersion: pgvillage/v1
kind: User
metadata: {name: billing-app}
spec:
  clusters: {names: [orders]}
  auth:
    method: scram
    password: {secret: billing-app}
    rotate: {every: 30d, roles: [billing_a, billing_b], keepLogin: true}
---
apiVersion: pgvillage/v1
kind: User
metadata: {name: replicator}
spec:
  clusters: {all: true}
  auth: {method: certificate}
  superuser: false
  replication: true
  login: true
  validUntil: "2027-06-30T12:00:00+02:00"
---
apiVersion: pgvillage/v1
kind: Group
metadata: {name: readers}
spec:
  clusters: {all: true}
  members:
    directory: corp
    group: cn=readers,dc=corp
    nested: true
    role: "ldap_{uid}"
    case: keep
    memberOf: [a]
    connectionLimit: 3
    onLeave: {drop: after 30d, heir: orders_owner}
    max: 100
---
apiVersion: pgvillage/v1
kind: Group
metadata: {name: writers}
spec: {clusters: {names: [orders]}, members: {roles: [a, b]}, ensure: absent, login: false, heir: x, comment: c}
---
apiVersion: pgvillage/v1
kind: Group
metadata: {name: filtered}
spec:
  clusters: {all: true}
  members: {directory: corp, group: "cn=x,dc=corp", filter: (mail=*), disabled: keep, onProblem: fail}
---
apiVersion: pgvillage/v1
kind: Group
metadata: {name: searched}
spec: {clusters: {all: true}, members: {directory: corp, search: {base: "ou=x,dc=corp", filter: "(&(a=b)(!(c=d)))"}}}
---
apiVersion: pgvillage/v1
kind: Job
metadata: {name: nightly}
spec:
  clusters: {all: true}
  schedule: {cron: "15 2 * * *", timeZone: Europe/Amsterdam}
  target: prefer-standby
  databases: [orders, {pattern: "shop_*"}]
  role: etl
  parameters: {days: 30, key: {secret: orders-app}}
  steps:
  - {name: analyze, sql: ANALYZE, transaction: false, statementTimeout: 5min, lockTimeout: 500ms}
  - {name: more, file: jobs/more.sql, needs: [analyze], when: "steps.analyze.rc == 0", matrix: {part: [a, 1, true]}}
  - {name: copy, shell: {command: [cp, a, b], on: local, env: {A: b, C: {secret: orders-app}}, folder: /tmp}}
  - {name: tidy, shell: {script: "rm -f x"}, maxRuntime: 10m, retries: {count: 3, wait: 10s, factor: 1.5, most: 5m}}
  - name: tell
    http: {method: POST, url: "https://hooks.example/a?b", headers: {X: y, Z: {secret: a}}, body: x, status: [200]}
  checks:
  - {name: fresh, sql: SELECT true, expect: {value: true}}
  - {name: some, sql: TABLE x, role: etl, expect: {rows: 3}}
  - {name: said, file: a.sql, expect: {matches: "^a+$"}}
  - {name: all, expect: {that: "steps.more.rows > 3"}}
  parallel: 2
  statementTimeout: 1h
  lockTimeout: 10s
  maxRuntime: 2h
  deadline: 10m
  retries: {count: 1}
  overlap: queue
  missed: all
  delivery: at-least-once
  alerts: [{on: [failure, recovery], channel: dba, lateAfter: 10m}]
---
apiVersion: pgvillage/v1
kind: Job
metadata: {name: often}
spec:
  clusters: {names: [a]}
  enabled: false
  schedules:
  - {every: 5m}
  - {calendar: {at: ["02:30", "14:00:05"], months: [jan], days: [1, -1], weekdays: [mon], nth: [1, -1]}}
  steps: [{name: a, sql: SELECT 1}]
"""


def good_documents() -> list[Document]:
    """Documents that are right, and use every field of every kind between them."""
    documents, faults = parse_documents(GOOD, "good.yaml")
    assert not faults
    return [document for document, _ in documents if isinstance(document, dict)]


def mutated(count: int, seed: int) -> Iterator[Document]:
    """Documents with one to three mutations each; many are broken, some stay right."""
    rng = random.Random(seed)
    good = good_documents()
    for number in range(count):
        document = copy.deepcopy(good[number % len(good)])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            rng.choice(MUTATIONS)(rng, document)
        yield document


def _places(value: object, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _places(inner, (*place, key))


def _container(document: Document, place: Place) -> Any:
    here: Any = document
    for step in place[:-1]:
        here = here[step]
    return here


def _replace(rng: random.Random, document: Document, make: Callable[[Any], Any], *kinds: type) -> None:
    """Replace one value of these kinds (of any kind when none is named)."""
    places = [p for p in _places(document) if not kinds or type(_container(document, p)[p[-1]]) in kinds]
    if places:
        place = rng.choice(places)
        container = _container(document, place)
        container[place[-1]] = make(container[place[-1]])


def _drop(rng: random.Random, document: Document) -> None:
    if places := list(_places(document)):
        place = rng.choice(places)
        del _container(document, place)[place[-1]]


def _mappings(document: Document) -> list[Document]:
    places = [(), *_places(document)]
    values = [document if not p else _container(document, p)[p[-1]] for p in places]
    return [value for value in values if isinstance(value, dict)]


def _rename(rng: random.Random, document: Document) -> None:
    mapping = rng.choice(_mappings(document))
    if mapping:
        key = rng.choice(list(mapping))
        mapping[rng.choice((key + "s", key.upper(), key[1:], "\0", "a b"))] = mapping.pop(key)


def _extra(rng: random.Random, document: Document) -> None:
    mapping = rng.choice(_mappings(document))
    key = rng.choice(
        ("extra", "name", "role", "ensure", "database", "witness", "file", "rows", "group", "all", "names")
    )
    mapping.setdefault(key, rng.choice(("absent", "x", None, True, 3, ["x"], {})))


def _swap_kind(rng: random.Random, document: Document) -> None:
    document["kind"] = rng.choice(("Estate", "Cluster", "Database", "User", "Group", "Job", "Role", None, 3))


def _swap_values(rng: random.Random, document: Document) -> None:
    places = list(_places(document))
    if len(places) > 1:
        one, other = rng.sample(places, 2)
        value = copy.deepcopy(_container(document, one)[one[-1]])
        _container(document, other)[other[-1]] = value


def _longer(value: list[Any]) -> list[Any]:
    return [*value, *copy.deepcopy(value)]


MUTATIONS: tuple[Callable[[random.Random, Document], None], ...] = (
    _drop,
    _rename,
    _extra,
    _swap_kind,
    _swap_values,
    lambda rng, d: _replace(rng, d, lambda _: rng.choice((None, True, 3, 2.5, "x", [], {}, ["x"], {"a": "b"}))),
    lambda rng, d: _replace(rng, d, lambda _: None),
    lambda rng, d: _replace(rng, d, lambda text: text + rng.choice(("x", " ", "\n", "\0", "é", "{", "%")), str),
    lambda rng, d: _replace(rng, d, lambda text: text[:-1], str),
    lambda rng, d: _replace(rng, d, lambda _: rng.choice(("é", "x")) * rng.choice((0, 31, 32, 63, 64, 300)), str),
    lambda rng, d: _replace(rng, d, lambda _: rng.choice(("pg_x", "public", "none", "absent", "present")), str),
    lambda rng, d: _replace(rng, d, lambda _: rng.choice(("2027-02-30", "2027-1-1", "12:30", "2027-06-30T25:00")), str),
    lambda rng, d: _replace(rng, d, lambda n: rng.choice((n - 1, -n, float(n), n + 0.5, str(n), 64, 2**31)), int),
    lambda rng, d: _replace(rng, d, lambda flag: rng.choice((not flag, int(flag), "yes", "true")), bool),
    lambda rng, d: _replace(rng, d, lambda _: [], list),
    lambda rng, d: _replace(rng, d, _longer, list),
    lambda rng, d: _replace(rng, d, lambda _: {}, dict),
)
