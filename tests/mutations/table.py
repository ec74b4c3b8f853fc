"""The mutations: what is changed where, which promise that breaks, and the tests that must fail then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ISSUING: Final = "core/storage/mysql/issuing.py"
LANE: Final = "server/coalescer.py"
STORE_TESTS: Final = "tests/contract/test_issuing_store.py"
LANE_TESTS: Final = "tests/unit/test_coalescer.py"
VERIFYING_TESTS: Final = "tests/unit/test_verification_service.py"
CACHE_TESTS: Final = "tests/integration/test_verification_stores.py"
CONNECTION_TESTS: Final = "tests/integration/test_connections.py"
SCRIPTS: Final = "core/storage/redis/scripts.py"
POOL: Final = "core/storage/mysql/pool.py"
TOPOLOGY_TESTS: Final = "tests/integration/test_topology.py"
RED_TESTS: Final = "tests/contract/test_red_store.py"
IMPORT_ENTRY_TESTS: Final = "tests/contract/test_import_entries.py"
OUTBOX_TESTS: Final = "tests/contract/test_outbox.py"
STACK_TESTS: Final = "tests/integration/test_stack.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change to one file: `before`, which stands there once, becomes `after`."""

    promise: str
    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """Returns the file's text with the change; raises ValueError unless it fits in one place."""
        if text.count(self.before) != 1:
            raise ValueError(f"{self.file}: {self.before!r} stands there {text.count(self.before)} times, not once")
        return text.replace(self.before, self.after)


MUTATIONS: Final = (
    Mutation(
        "P1",
        "the answer goes out and the transaction is rolled back",
        ISSUING,
        "{insert}; COMMIT",
        "{insert}; ROLLBACK",
        (STORE_TESTS,),
    ),
    Mutation(
        "P1",
        "an answer that was only read is not confirmed by a replica",
        ISSUING,
        "await primary.confirm()",
        "pass",
        ("tests/contract/test_issuing_statements.py",),
    ),
    Mutation(
        "P1",
        "the primary commits without a replica's receipt",
        "stack/mariadb.py",
        "rpl_semi_sync_master_wait_no_slave = ON",
        "rpl_semi_sync_master_wait_no_slave = OFF",
        (STACK_TESTS,),
    ),
    Mutation(
        "P1",
        "the log is not written through at a commit",
        "stack/mariadb.py",
        "innodb_flush_log_at_trx_commit = 1",
        "innodb_flush_log_at_trx_commit = 2",
        (STACK_TESTS,),
    ),
    Mutation(
        "P1",
        "others see a commit before a replica has it",
        "stack/mariadb.py",
        "rpl_semi_sync_master_wait_point = AFTER_SYNC",
        "rpl_semi_sync_master_wait_point = AFTER_COMMIT",
        (STACK_TESTS,),
    ),
    Mutation(
        "P2",
        "another body under the same request id gets the old answer",
        "core/storage/allocation.py",
        "if draft.request_sha256 == request_sha256:",
        "if draft.request_sha256:",
        (STORE_TESTS,),
    ),
    Mutation(
        "P2",
        "the digest of a cached answer is not compared",
        LANE,
        "answer_known(draft, answer.request_sha256) or answer",
        "answer",
        ("tests/unit/test_coalescer_repeats.py",),
    ),
    Mutation(
        "P2",
        "who was not looked up counts as new when the numbers are used up",
        ISSUING,
        "plan.looked_up |= sellers",
        "plan.looked_up |= plan.sellers()",
        ("tests/contract/test_issuing_statements.py",),
    ),
    Mutation(
        "P2",
        "request ids that differ in case are the same",
        ISSUING,
        "item.repeated = True\n            plan.settle((item.seller_key, item.request_id), item)",
        "item.repeated = True\n            plan.settle((item.seller_key, item.request_id.lower()), item)",
        (STORE_TESTS,),
    ),
    Mutation(
        "P3",
        "the ranges are read without their locks",
        "core/storage/mysql/issuing_sql.py",
        "ORDER BY range_id FOR UPDATE",
        "ORDER BY range_id",
        (STORE_TESTS,),
    ),
    Mutation(
        "P3",
        "a restore gives lost numbers again",
        "core/storage/withdrawal.py",
        "last_lost = min(row.last, lost[place][1]) if place >= 0 else 0",
        "last_lost = 0",
        ("tests/unit/test_withdrawal.py",),
    ),
    Mutation(
        "P3",
        "a number is skipped at the end of every run",
        "core/storage/allocation.py",
        "allocation.taken[state.range_id] = take",
        "allocation.taken[state.range_id] = take + 1",
        (STORE_TESTS,),
    ),
    Mutation(
        "P4",
        "what is taken of a blue invoice is not counted within a commit",
        "core/storage/red_decision.py",
        "taken.net += part.net",
        "taken.net += 0",
        (RED_TESTS,),
    ),
    Mutation(
        "P4",
        "blue invoices are read without their locks",
        "core/storage/mysql/red_letter.py",
        "ORDER BY number FOR UPDATE",
        "ORDER BY number",
        (RED_TESTS,),
    ),
    Mutation(
        "P4",
        "a booked invoice is red-lettered without a form",
        "core/storage/red_decision.py",
        "elif draft.blue_number in self._booked:",
        "elif False:",
        (RED_TESTS,),
    ),
    Mutation(
        "P5",
        "a Redis that is away fails the call",
        "core/storage/redis/verification_cache.py",
        "        except RedisAway:\n            return found",
        "        except RedisAway:\n            raise",
        (CACHE_TESTS, "tests/integration/test_redis_away.py"),
    ),
    Mutation(
        "P5",
        "a Redis that came back is never asked again",
        "core/storage/redis/link.py",
        "            except AWAY:\n                continue",
        "            except AWAY:\n                return",
        ("tests/integration/test_redis_away.py",),
    ),
    Mutation(
        "P6",
        "a worker that lost its lease marks all the same",
        "core/storage/mysql/outbox.py",
        '" AND lease_owner = %s AND segment_id IS NULL"',
        '" AND (lease_owner = %s OR TRUE)"',
        (OUTBOX_TESTS,),
    ),
    Mutation(
        "P6",
        "two workers claim the same batches",
        "core/storage/mysql/outbox.py",
        '" ORDER BY batch_id LIMIT %s FOR UPDATE SKIP LOCKED"',
        '" ORDER BY batch_id LIMIT %s"',
        (OUTBOX_TESTS, "tests/integration/test_archive_worker.py"),
    ),
    Mutation(
        "P6",
        "a lease that a clock ahead made too long is kept",
        "core/storage/mysql/outbox.py",
        " OR lease_until_us > {NOW_US} + %s)",
        " OR %s < 0)",
        (OUTBOX_TESTS,),
    ),
    Mutation(
        "P6",
        "leases are kept when the object store is away",
        "workers/archive.py",
        "            await self._give_back(batches)\n",
        "",
        ("tests/unit/test_worker_loop.py",),
    ),
    Mutation(
        "P7",
        "a replica's word is enough for not found",
        "server/services/verification.py",
        "missing = [number for number in numbers if number not in found]",
        "missing: list[str] = []",
        (VERIFYING_TESTS,),
    ),
    Mutation(
        "P7",
        "not found is remembered for a minute",
        "core/limits.py",
        "NOT_FOUND_TTL_MS: Final = 1_000",
        "NOT_FOUND_TTL_MS: Final = 60_000",
        (VERIFYING_TESTS, "tests/contract/test_caches.py"),
    ),
    Mutation(
        "P7",
        "a red invoice is answered before the cache knows",
        "server/services/red_letter.py",
        "await self._entries.replace(list(found.values()))",
        "asyncio.get_running_loop().create_task(self._entries.replace(list(found.values())))",
        ("tests/unit/test_red_letter_service.py",),
    ),
    Mutation(
        "P7",
        "a repetition puts an entry without its reds into the cache",
        "core/storage/redis/issue_cache.py",
        " and not item.repeated",
        "",
        ("tests/contract/test_caches.py",),
    ),
    Mutation(
        "P7",
        "an old master that was made a replica is believed",
        "core/storage/redis/places.py",
        "'role:master', 1, true) then",
        "'role:', 1, true) then",
        ("tests/integration/test_redis_places.py",),
    ),
    Mutation(
        "P7",
        "an old master that still answers is never left",
        "core/storage/redis/link.py",
        "if now != before and before is self._place:",
        "if False:",
        ("tests/integration/test_redis_places.py",),
    ),
    Mutation(
        "P7",
        "what a moved slot brings along is believed",
        "core/storage/redis/places.py",
        "(of_node,) if first == self._family else (own, of_node, own)",
        "(of_node,)",
        ("tests/integration/test_redis_cluster.py",),
    ),
    Mutation(
        "P7",
        "an older state replaces a newer one in the cache",
        SCRIPTS,
        "<= tonumber(ARGV[reds + i]) then",
        "== tonumber(ARGV[reds + i]) then",
        ("tests/contract/test_caches.py",),
    ),
    Mutation(
        "P7",
        "what was read before a red invoice is put over what is known of it",
        SCRIPTS,
        "'HSETNX'",
        "'HSET'",
        ("tests/contract/test_caches.py",),
    ),
    Mutation(
        "P7",
        "entries live on for as long as others come to their hash",
        SCRIPTS,
        "if new then redis.call('EXPIRE', key, ARGV[1]) new = false end",
        "redis.call('EXPIRE', key, ARGV[1])",
        ("tests/integration/test_redis_away.py",),
    ),
    Mutation(
        "P7",
        "what a red-letter replaced ends with its hash, before replicas know it",
        SCRIPTS,
        "redis.call('TTL', key) < tonumber(ARGV[2])",
        "redis.call('EXISTS', key) == 0",
        ("tests/integration/test_redis_away.py",),
    ),
    Mutation(
        "P7",
        "a replica counts as fresh however old it is",
        "core/storage/mysql/topology.py",
        "oldest = self._clock() - self._lag_max_s",
        "oldest = self._clock() - 3_600",
        (TOPOLOGY_TESTS,),
    ),
    Mutation(
        "P8",
        "invoices of other tenants are shown",
        "server/services/reading.py",
        "if found is None or found[1].tenant_key != caller.tenant_key:",
        "if found is None:",
        ("tests/unit/test_reading_service.py",),
    ),
    Mutation(
        "P8",
        "blue invoices of other tenants can be red-lettered",
        "server/services/red_letter.py",
        "if one is not None and one[1].tenant_key == caller.tenant_key:",
        "if one is not None:",
        ("tests/unit/test_red_letter_service.py",),
    ),
    Mutation(
        "P8",
        "a revoked key goes on working while it is in use",
        "core/limits.py",
        "API_KEY_TTL_MS: Final = 1_000",
        "API_KEY_TTL_MS: Final = 60_000",
        ("tests/unit/test_auth.py",),
    ),
    Mutation(
        "P8",
        "what is entered as imported is entered as issued, too",
        "core/domain/entry_subject.py",
        "            if is_entered(key):",
        "            if False:",
        (IMPORT_ENTRY_TESTS,),
    ),
    Mutation(
        "P8",
        "a document takes the place of another taxpayer's invoice",
        "core/domain/entry_subject.py",
        '"\\x00".join((buyer_tax_id, code, number))',
        '"\\x00".join((code, number))',
        (IMPORT_ENTRY_TESTS,),
    ),
    Mutation(
        "P8",
        "imports are read without their locks",
        "core/storage/mysql/entry_locks.py",
        "ORDER BY number, code, import_id FOR UPDATE",
        "ORDER BY number, code, import_id",
        ("tests/integration/test_entry_doors.py",),
    ),
    Mutation(
        "P9",
        "a full lane goes on taking invoices",
        "server/admission.py",
        "if items > free:",
        "if False:",
        ("tests/unit/test_admission.py",),
    ),
    Mutation(
        "P9",
        "what nobody waits for any more gets a number",
        LANE,
        "if group.given_up(now_s):",
        "if False:",
        (LANE_TESTS,),
    ),
    Mutation(
        "P9",
        "the lane of batches does not learn how long its commits take beside single calls",
        LANE,
        "self._size_beside.learn(len(drafts), took_s)",
        "pass",
        (LANE_TESTS,),
    ),
    Mutation(
        "P9",
        "a wrong invoice keeps its room in the lane",
        LANE,
        "self._admission.answered(group.tenant_key, 1)",
        "pass",
        ("tests/unit/test_coalescer_late_drafts.py",),
    ),
    Mutation(
        "P9",
        "an answer is waited for without end",
        "server/overdue.py",
        "future.set_exception(TimeoutError())",
        "pass",
        (LANE_TESTS,),
    ),
    Mutation(
        "P9",
        "tenants do not take turns",
        "server/fair_queue.py",
        "            self._turns.rotate(-1)\n",
        "",
        ("tests/unit/test_fair_queue.py",),
    ),
    Mutation(
        "P9",
        "a refusal does not say when to come back",
        "server/services/red_letter.py",
        "BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOAD_RETRY_MS)",
        "BillowError(Reason.OVERLOADED, words)",
        ("tests/unit/test_red_letter_service.py",),
    ),
    Mutation(
        "P9",
        "the edge repeats for all servers what one says that is stopping",
        "server/interceptors.py",
        "if unparsed and call is not None and error.reason is Reason.OVERLOADED:",
        "if unparsed and call is not None:",
        ("tests/unit/test_guard.py",),
    ),
    Mutation(
        "P9",
        "the edge refuses callers who wait long as it does those who do not",
        "envoy/refusals.lua",
        "if timeout_ms(timeout) > LONGER * caller.timeout_ms or math.random()",
        "if math.random()",
        ("tests/integration/test_edge_refusals.py",),
    ),
    Mutation(
        "P9",
        "the edge forgets a caller sooner than its refusals come",
        "envoy/refusals.lua",
        "local FORGOTTEN_MS = 10000",
        "local FORGOTTEN_MS = 1000",
        ("tests/integration/test_edge_refusals.py",),
    ),
    Mutation(
        "P10",
        "a process that slept through a failover issues in the old epoch",
        ISSUING,
        "if any(row[6] != epoch for row in ranges):",
        "if False:",
        ("tests/contract/test_issuing_statements.py",),
    ),
    Mutation(
        "P10",
        "a caller that goes away takes its red invoice's writing with it",
        "server/services/red_letter.py",
        "await asyncio.shield(task)",
        "await task",
        ("tests/unit/test_red_letter_service.py",),
    ),
    Mutation(
        "P10",
        "two writable nodes: the first one is written to",
        "core/storage/mysql/topology.py",
        "if len(writable) != 1:",
        "if not writable:",
        (TOPOLOGY_TESTS,),
    ),
    Mutation(
        "P10",
        "a commit does not wait for the primary to come back",
        ISSUING,
        "                if asyncio.get_running_loop().time() >= give_up_at:\n                    raise\n",
        "                raise\n",
        ("tests/contract/test_issuing_statements.py",),
    ),
    Mutation(
        "P10",
        "whoever opens a connection to a frozen primary goes on waiting when another one is there",
        POOL,
        "                limit.reschedule(asyncio.get_running_loop().time())",
        "                pass",
        (CONNECTION_TESTS,),
    ),
    Mutation(
        "P10",
        "who asked for a connection before a failover gets one to the old primary after it",
        POOL,
        "        if drops != self._drops:\n            raise unavailable",
        "        if False:\n            raise unavailable",
        (CONNECTION_TESTS,),
    ),
    Mutation(
        "P10",
        "a connection that a firewall forgot is waited for",
        POOL,
        "asyncio.timeout(self._lent_s)",
        "asyncio.timeout(None)",
        (CONNECTION_TESTS,),
    ),
    Mutation(
        "P11",
        "only the first fault of an invoice is told",
        "core/domain/rules.py",
        "        if len(self) >= limits.VIOLATIONS_MAX:\n            self.pop()\n",
        "        if self:\n            self.pop()\n",
        ("tests/unit/test_rules.py",),
    ),
    Mutation(
        "P11",
        "totals may disagree with the lines",
        "core/domain/rules.py",
        "    _check_totals(invoice, profile, amounts, error_total, faults)\n",
        "",
        ("tests/unit/test_rules.py",),
    ),
)
