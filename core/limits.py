"""Every maximum of the platform in one place, with its reason. Units are in the names."""

from __future__ import annotations

from typing import Final

# --- requests -------------------------------------------------------------------------------------------------
BATCH_ITEMS_MAX: Final = 1_000  # items of one batch message (DESIGN section 5)
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024  # a batch of 1,000 invoices of 20 full lines fits
PAGE_ITEMS_MAX: Final = 1_000
PAGE_ITEMS_DEFAULT: Final = 100
REQUEST_ID_CHARS_MAX: Final = 64
SELLER_ID_CHARS_MAX: Final = 63
NUMBER_CHARS: Final = 20
OLD_CODE_CHARS: Final = 12  # of older invoices, which have a code and a short number (DOMAIN.md)
OLD_NUMBER_CHARS: Final = 8

# --- invoices (DOMAIN.md: unconfirmed limits are configuration of the profile, these are its defaults) -----------
LINES_MAX: Final = 2_000
NAME_CHARS_MAX: Final = 90
CATEGORY_CHARS_MAX: Final = 40
SPECIFICATION_CHARS_MAX: Final = 40
UNIT_CHARS_MAX: Final = 20
PARTY_NAME_CHARS_MAX: Final = 100
PARTY_ADDRESS_CHARS_MAX: Final = 100
PARTY_PHONE_CHARS_MAX: Final = 40
PARTY_BANK_NAME_CHARS_MAX: Final = 100
PARTY_BANK_ACCOUNT_CHARS_MAX: Final = 50
REMARK_CHARS_MAX: Final = 200
DRAWER_CHARS_MAX: Final = 20
GOODS_CODE_CHARS_MAX: Final = 19
DECIMALS_MAX: Final = 13  # of quantity and unit price
DECIMAL_CHARS_MAX: Final = 32
AMOUNT_MINOR_MAX: Final = 10**15 - 1  # a line or a total: far inside int64, so no sum of 2,000 lines overflows
VIOLATIONS_MAX: Final = 100  # faults told of one invoice; more are counted, not listed

# --- errors -------------------------------------------------------------------------------------------------------
# Clients of gRPC take 8 KiB of trailers by default. Beyond, calls end as RESOURCE_EXHAUSTED, which looks like overload
# and is tried again. The message stands there twice, once with three characters a byte.
STATUS_BYTES_MAX: Final = 6_656  # of an error with its details: some 90 faults with their words; more are not listed
ERROR_TEXT_BYTES_MAX: Final = 300  # of a message or a value of the metadata: what a caller sent may be quoted in it

# --- issuing ----------------------------------------------------------------------------------------------------
COMMIT_ITEMS_MAX: Final = 1_000  # invoices of one transaction: bounds the time a number range stays locked
# A bulk transaction while single calls are around takes so long, by as many invoices as do: they wait for its ranges,
# and for the loop's turns it takes (docs/adr/0045)
COMMIT_BESIDE_MS: Final = 40
COMMIT_ITEMS_BESIDE_MIN: Final = 100  # of it, however slow: less saves single calls little, what a commit itself costs
COMMIT_BYTES_MAX: Final = 12 * 1024 * 1024  # of prepared bodies: even incompressible ones fit a MEDIUMBLOB
LANE_ITEMS_MAX: Final = 20_000  # invoices waiting in one lane of one process before new ones are refused
TENANT_FREE_TIMES: Final = 2  # a tenant may hold so many times what is free of a lane: two thirds of it when alone
TURN_ITEMS: Final = 100  # invoices of one tenant that go into a commit before the next tenant's
# An estimate that is right on average is missed by every second call: what is accepted shall be done in time (P9)
DEADLINE_WAITS: Final = 2  # times the estimated wait that a caller's deadline must leave
# The wait that makes newcomers be refused once it has stayed for the interval. Single calls have people behind them;
# a bulk caller fills the lane on purpose: 8 messages of 500 are half a second of work.
INTERACTIVE_DELAY_MS: Final = 1_000
BULK_DELAY_MS: Final = 5_000
# A commit costs some 3 ms of CPU, as much as so many invoices do: 0.4 ms each by single calls, 0.03 by batches
INTERACTIVE_COMMIT_ITEMS: Final = 8
BULK_COMMIT_ITEMS: Final = 100
LOOP_DELAY_MS: Final = 100  # of the event loop: a single call needs a dozen of its turns
DELAY_INTERVAL_MS: Final = 1_000
# Transactions of one lane under way at once. More wait for each other's ranges and only make smaller batches: measured
# with 10 sellers and 2 processes, 675 single calls a second with 1 and 312 with 4; bulk is the same with both.
LANE_COMMITS_MAX: Final = 1
# A commit costs some 3 ms of CPU, an invoice in it 0.4 ms. So after one of fewer than REST_ITEMS_MAX a lane in which
# others wait rests as long as that took. That of single calls, up to CROWD_ITEMS_MAX, also rests until as many wait as
# it had, REST_TIMES as long at most, and after CROWD_ITEMS_MIN even without others: they come back together.
# REST_MS_MAX costs a single call little of its 250 ms (docs/adr/0037)
REST_ITEMS_MAX: Final = 100
REST_TIMES: Final = 6
REST_MS_MAX: Final = 50
CROWD_ITEMS_MIN: Final = 8
CROWD_ITEMS_MAX: Final = 250
MADE_LINES_MAX: Final = 750  # of single calls' drafts made when their commit begins: 5 ms of the event loop
COMMIT_ATTEMPTS_MAX: Final = 6  # of one transaction after deadlock, lock timeout, duplicate key or lost connection
RANGE_MOVES_MAX: Final = 50  # times that one commit finds its remembered ranges used up
OPEN_RANGES_MAX: Final = 8  # ranges of one seller and kind looked at in one transaction, unless they are tiny
STREAM_BATCHES_MAX: Final = 8  # messages of one issuing stream worked on at once

# --- red-letter ---------------------------------------------------------------------------------------------------
RED_COMMIT_ITEMS_MAX: Final = 200  # red invoices of one transaction: bounds the time their blue ones stay locked
RED_READS_MAX: Final = 16  # blue invoices of one batch read at once
RED_REASSERT_ITEMS_MAX: Final = 1_000  # changed balances put into the cache again in one look
RED_EXPIRE_ITEMS_MAX: Final = 1_000  # forms voided by one statement

# --- verification -----------------------------------------------------------------------------------------------
PUBLIC_CHECKS_A_DAY_MAX: Final = 5  # of one invoice without a key (DOMAIN.md: commonly 5)
VERIFICATION_YEARS_MAX: Final = 5  # older invoices are answered "too old" (DOMAIN.md)
VERIFY_STREAM_BATCHES_MAX: Final = 4  # messages of one verifying stream worked on at once
VERIFY_READ_ITEMS_MAX: Final = 1_000  # numbers of one look into the cache or the database
VERIFY_WAITING_MAX: Final = 10_000  # single checks of one process waiting to be read before new ones are refused
ABSENCES_MAX: Final = 20_000  # remembered by one process
PUBLIC_COUNTS_MAX: Final = 100_000  # numbers one process counts by itself while Redis is away
NOT_FOUND_TTL_MS: Final = 1_000  # P7: "not found" is remembered for at most a second

# --- registry and callers ---------------------------------------------------------------------------------------
DISPLAY_NAME_CHARS_MAX: Final = 100
SELLERS_CACHED_MAX: Final = 20_000  # of one process: about 20 MB
API_KEYS_CACHED_MAX: Final = 10_000  # of one process: about 5 MB
API_KEY_TTL_MS: Final = 1_000  # a revocation is in effect everywhere within this
API_KEY_REFRESH_MS: Final = 400  # a key in use is looked at again in the background once it is so old
LOOKUP_KEYS_MAX: Final = 1_000  # of one statement
CREDIT_QUOTA_MINOR_MAX: Final = 10**17 - 1  # a month's: a hundred of the largest invoices, far inside int64
LOOKUPS_WAITING_MAX: Final = 10_000  # of one kind, before new ones are refused
EDGE_SECRET_CHARS_MIN: Final = 32  # 192 bits in base64
RATE_BURST_S: Final = 2  # of a tenant's rate at once: a caller that comes now and then is not slowed
RATE_TENANTS_MAX: Final = 10_000  # remembered by one process: about 1 MB a rate

# --- archive ----------------------------------------------------------------------------------------------------
SEGMENT_INVOICES_MAX: Final = 50_000
SEGMENT_BYTES_MAX: Final = 32 * 1024 * 1024  # of bodies before compression
CLAIM_BATCHES_MAX: Final = 4_096  # outbox rows claimed at once by one worker: some seconds of single calls
CLAIM_FETCH_INVOICES_MAX: Final = 4_000  # invoices whose blocks one statement reads: bounds what a claim can weigh
SEGMENT_READ_BYTES_MAX: Final = 512 * 1024 * 1024  # the audit reads a segment whole; a sane one is far smaller

# --- delivery ---------------------------------------------------------------------------------------------------
FEED_TRIM_MAX: Final = 5_000  # consumed batches looked at when a feed's watermark moves
FAN_OUT_BATCHES_MAX: Final = 20  # batches of one fan-out transaction: at most 20,000 deliveries an endpoint
FAN_OUT_ROWS_MAX: Final = 1_000  # deliveries of one INSERT
ENDPOINTS_OF_SELLER_MAX: Final = 100
TARGET_CHARS_MAX: Final = 1_000
SENDS_MAX: Final = 128  # attempts under way in one worker
ENDPOINT_SENDS_MAX: Final = 8  # of them to one endpoint: a slow one holds no more than these
ENDPOINT_READY_MAX: Final = 128  # leased ahead for an endpoint that works: sixteen rounds of its places
READY_MAX: Final = 1_024  # leased ahead by one worker in all
SHARED_SENDS_MAX: Final = 32  # attempts under way to the relay, or to the SMS gateway: one that hangs holds no more
NOTES_MAX: Final = 256  # outcomes noted by one transaction
ENDPOINTS_GIVEN_UP_MAX: Final = 100  # failing endpoints looked at in one transaction that gives up
GIVEN_UP_MAX: Final = 1_000  # deliveries it gives up
EMAIL_THREADS_MAX: Final = 8  # dialogues with the relay at once, of one worker
EMAIL_ATTACHMENTS_BYTES_MAX: Final = 7 * 1024 * 1024  # in base64 below the 10 MB that most relays take
SMS_CHARS_MAX: Final = 350  # some five parts of 70 characters
ENDPOINTS_DUE_MAX: Final = 1_000  # endpoints with due deliveries looked at in one step
ATTEMPT_DETAIL_CHARS_MAX: Final = 200
CLAIM_DELIVERIES_MAX: Final = 1_000  # of one ClaimDeliveries
PULL_LEASE_MS_MAX: Final = 12 * 3_600_000

# --- statements ------------------------------------------------------------------------------------------------
READ_RUNS_MAX: Final = 32  # runs of numbers in one SELECT: every row that it reads is compared with half of them
LOOKUP_SELLERS_MAX: Final = 32  # sellers whose request ids one SELECT looks up: likewise
CASES_MAX: Final = 64  # rows that one UPDATE gives a value each: every one of them is compared with half of them

# --- collection and account entry -------------------------------------------------------------------------------
LEDGER_REFERENCE_CHARS_MAX: Final = 100
ENTRY_CHANGES_MAX: Final = 1_000  # of one invoice: bounds its history
ENTRY_ATTEMPTS_MAX: Final = 8  # of one transaction after deadlock, lock timeout or a request id used at once
COLLECT_BATCHES_MAX: Final = 50  # batches one transaction of the collector takes: at most 50,000 invoices
COLLECT_ROWS_MAX: Final = 1_000  # rows of one INSERT
COLLECT_FILL_ROWS_MAX: Final = 50_000  # earlier invoices of a buyer numbered at once: replicas apply them in a second
RECEIVED_MESSAGE_ITEMS_MAX: Final = 500  # invoices of one message of a subscription
SUBSCRIPTIONS_MAX: Final = 200  # of one process: each looks into the database twice a second

# --- documents that callers bring -------------------------------------------------------------------------------
XML_BYTES_MAX: Final = 8 * 1024 * 1024  # 2,000 full lines in Chinese are below 4 MB
XML_TAGS_MAX: Final = 200_000  # 2,000 lines have 44,000; a tree takes about 120 bytes an element
XML_ATTRIBUTES_MAX: Final = 400_000  # counted as "=", which texts may hold too
OFD_BYTES_MAX: Final = 16 * 1024 * 1024  # foreign ones embed fonts and seals
OFD_PARTS_MAX: Final = 2_000  # a page, its template and a seal each for 300 pages and more
OFD_ATTACHMENTS_MAX: Final = 8
OFD_UNPACKED_BYTES_MAX: Final = 24 * 1024 * 1024  # of the parts that are read
PDF_BYTES_MAX: Final = 16 * 1024 * 1024  # as OFD
PDF_ATTACHMENTS_MAX: Final = 8
INSPECT_BYTES_MAX: Final = 10 * 1024 * 1024  # of a document brought: in JSON 14 MiB, below MESSAGE_BYTES_MAX
DIFFERENCES_MAX: Final = 100  # fields listed that are not as issued; more are counted
DIFFERENCE_CHARS_MAX: Final = 200  # of a value shown
FILE_NAME_CHARS_MAX: Final = 255
READER_MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024  # of a reading process, its code included
READER_CPU_S_MAX: Final = 5  # of one document: a lawful one of 2,000 lines takes 0.5 s
READER_MAX_MS: Final = 10_000  # of one document, by the clock: the same on a busy machine
READER_WAITING_MAX: Final = 64  # documents of one server process waiting to be read, under way included
READER_WAITING_PUBLIC_MAX: Final = 16  # of these, before callers without a key are sent away: the rest is for keys
CAPITAL_CHARS_MAX: Final = 80  # a total in words: the longest has 38
READ_SECONDS_MAX: Final = 253_000_000_000  # the year 9987: times that datetime can hold

# --- documents rendered -------------------------------------------------------------------------------------------
DOCUMENT_BYTES_MAX: Final = 12 * 1024 * 1024  # fits a message, in JSON as well; a PDF of 2,000 lines has 0.3 MB
DOCUMENTS_WAITING_MAX: Final = 64  # of one server process, under way included: a second or two of work
DOCUMENT_RENDER_MAX_MS: Final = 30_000  # 2,000 lines take 2 s
SELLER_KEYS_KEPT_MAX: Final = 256  # sellers' keys in the memory of one rendering process: 10 KB each
SELLER_CERTIFICATES_MAX: Final = 20_000  # files in the folder of sellers' keys that checkers know: 2 KB each
CERTIFICATES_MAX: Final = 5  # of one chain: every signature carries them
SIGNATURES_MAX: Final = 8  # looked at in one PDF; ours have one
SIGNATURE_BYTES_MAX: Final = 64 * 1024  # of one signature in a PDF: a chain, and others' time stamps

# --- downloads ----------------------------------------------------------------------------------------------------
DOWNLOAD_LIFETIME_S_MAX: Final = 30 * 86_400  # a mail with a link is read within a month; longer is for documents kept
DOWNLOAD_KEYS_MAX: Final = 8  # of one installation: the one that signs, and those whose links still live
DOWNLOAD_KEY_ID_CHARS_MAX: Final = 16
DOWNLOAD_SECRET_CHARS_MIN: Final = 32  # 192 bits in base64
DOWNLOAD_TOKEN_CHARS_MAX: Final = 192  # the longest one: 1 + 17 + 17 + 52 + 32 bytes are 159 characters
DOWNLOADS_MAX: Final = 64  # under way in one web process: each holds one chunk at most
DOWNLOAD_STORE_MAX_MS: Final = 5_000  # of one read of the object store before the caller is told to come again
DOWNLOAD_WRITE_MAX_MS: Final = 60_000  # of one chunk to a slow reader before the download is ended
DOWNLOAD_CHUNK_BYTES: Final = 1024 * 1024  # of one read of the object store; most documents are smaller
DOWNLOAD_RECENT_BYTES_MAX: Final = 32 * 1024 * 1024  # of small documents one web process remembers: some 800
PAGE_BYTES_MAX: Final = 1024 * 1024  # of one file of the pages, which are held in memory
