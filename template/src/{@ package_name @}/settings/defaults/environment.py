"""Every environment variable that the settings read, with its type, default and meaning.

Maintained by the template: declare your own variables in settings/base.py. The table in
docs/configuration.md has the same sentences.
"""

from common.environment import Environment

env = Environment()

SECRET_KEY = env.text(
    "SECRET_KEY",
    "Signs sessions, password resets and messages; at least 50 random characters.",
    required=True,
)
SECRET_KEY_FALLBACKS = env.words(
    "SECRET_KEY_FALLBACKS",
    "Former keys, still accepted while a key is being rotated.",
)
DEBUG = env.flag(
    "DEBUG",
    "Show tracebacks in the browser; heard in development alone, and always off in production.",
    default=True,
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS",
    "Host names this service answers to; probes are answered by any name.",
    pattern=r"[^/:\s]+|\[[0-9a-fA-F:.]+\]",
    expected="host names without a scheme, a port or a path, such as example.com",
    required=True,
)
CSRF_TRUSTED_ORIGINS = env.words(
    "CSRF_TRUSTED_ORIGINS",
    "Origins with their scheme, such as `https://example.com`, that may post forms.",
    pattern=r"https?://[^/\s]+",
    expected="origins with their scheme and without a path, such as https://example.com",
)

DATABASE = env.database_url(
    "DATABASE_URL",
    "The database; SQLite beside manage.py when missing, which production refuses.",
    schemes=("postgres", "postgresql", "sqlite"),
    required=True,
)
DATABASE_CONN_MAX_AGE = env.integer(
    "DATABASE_CONN_MAX_AGE",
    "Seconds that a connection is kept for the next request.",
    default=60,
)
DATABASE_CONNECT_TIMEOUT = env.integer(
    "DATABASE_CONNECT_TIMEOUT",
    "Seconds to wait for a connection; libpq takes 2 for anything less.",
    default=3,
    minimum=1,
)
DATABASE_STATEMENT_TIMEOUT = env.integer(
    "DATABASE_STATEMENT_TIMEOUT",
    "Seconds after which PostgreSQL ends a statement; 0 for no limit, as long migrations need.",
    default=30,
)
PGBOUNCER = env.flag(
    "PGBOUNCER",
    "The database is reached through PgBouncer in transaction mode: no server-side cursors, "
    "no kept connections, and the statement timeout is left to the role.",
)
CACHE = env.cache_url(
    "CACHE_URL",
    "The cache; the process's own memory when missing, which production refuses.",
    schemes=("redis", "rediss", "locmemcache"),
    default="locmemcache://",
    required=True,
)

# @if task_queue == "celery"
# @if broker == "redis"
CELERY_BROKER_URL = env.url(
    "CELERY_BROKER_URL",
    "The broker of the task queue; tasks run at once in the calling process when missing, "
    "which production refuses.",
    schemes=("redis", "rediss"),
    required=True,
)
CELERY_VISIBILITY_TIMEOUT = env.integer(
    "CELERY_VISIBILITY_TIMEOUT",
    "Seconds after which a task that was taken and not ended is given to another worker; "
    "more than the longest countdown.",
    default=3600,
    minimum=1,
)
CELERY_RESTORE_INTERVAL = env.integer(
    "CELERY_RESTORE_INTERVAL",
    "Seconds between two searches of a worker for such tasks.",
    default=10,
    minimum=1,
)
# @else
CELERY_BROKER_URL = env.url(
    "CELERY_BROKER_URL",
    "The broker of the task queue; tasks run at once in the calling process when missing, "
    "which production refuses.",
    schemes=("amqp", "amqps"),
    required=True,
)
# @endif
CELERY_RESULT_BACKEND = env.url(
    "CELERY_RESULT_BACKEND",
    "Where the results of tasks are kept; results are dropped when missing.",
    schemes=("redis", "rediss"),
)
CELERY_RESULT_EXPIRES = env.integer(
    "CELERY_RESULT_EXPIRES",
    "Seconds that a result is kept.",
    default=86_400,
    minimum=1,
)
CELERY_WORKER_CONCURRENCY = env.integer(
    "CELERY_WORKER_CONCURRENCY",
    "Tasks that a worker runs side by side; 0 for one on each processor that it may use.",
    default=0,
)
CELERY_WORKER_PREFETCH_MULTIPLIER = env.integer(
    "CELERY_WORKER_PREFETCH_MULTIPLIER",
    "Tasks that a worker holds for each that it runs; 1 where tasks are long.",
    default=4,
    minimum=1,
)
CELERY_WORKER_MAX_TASKS_PER_CHILD = env.integer(
    "CELERY_WORKER_MAX_TASKS_PER_CHILD",
    "Tasks after which a process of a worker is replaced, as a guard against leaks.",
    default=1000,
    minimum=1,
)
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = env.number(
    "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT",
    "Seconds that running tasks have to end when a worker is stopped, after which they are "
    "given to another worker; less than the container's grace.",
    default=60.0,
)
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = env.flag(
    "CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE",
    "Whether a worker that runs no task waits these seconds, too.",
    default=True,
)
CELERY_TASK_TIME_LIMIT = env.integer(
    "CELERY_TASK_TIME_LIMIT",
    "Seconds after which the process of a task is killed.",
    default=300,
    minimum=2,
)
CELERY_TASK_SOFT_TIME_LIMIT = env.integer(
    "CELERY_TASK_SOFT_TIME_LIMIT",
    "Seconds after which a task gets SoftTimeLimitExceeded, to clean up; less than its limit.",
    default=240,
    minimum=1,
)
CELERY_TASK_RETRY_DELAY = env.integer(
    "CELERY_TASK_RETRY_DELAY",
    "Seconds before a task is tried again that asked for it, or whose process was killed.",
    default=180,
)
CELERY_TASK_MAX_RETRIES = env.integer(
    "CELERY_TASK_MAX_RETRIES",
    "How often a task is tried again, unless it says itself.",
    default=3,
)
CELERY_STATE_FOLDER = env.text(
    "CELERY_STATE_FOLDER",
    "Where a worker or beat keeps its heartbeat, and beat what it has sent; one folder for each "
    "that shares a machine, by default one of the user in the system's temporary folder.",
)
READY_CHECK_BROKER = env.flag(
    "READY_CHECK_BROKER",
    "Whether /ready/ fails when the broker does.",
)

# @endif
# @if media_storage == "local"
MEDIA_ROOT = env.text(
    "MEDIA_ROOT",
    "The folder of uploads, on a volume that the proxy serves at /media/; `media` beside manage.py "
    "when missing, which production refuses.",
    required=True,
)
# @endif
# @if media_storage == "s3"
AWS_STORAGE_BUCKET_NAME = env.text(
    "AWS_STORAGE_BUCKET_NAME",
    "The bucket of uploads; the folder `media` beside manage.py when missing, which production "
    "refuses.",
    required=True,
)
AWS_S3_REGION_NAME = env.text(
    "AWS_S3_REGION_NAME",
    "The region of the bucket; other stores than AWS say what they call theirs.",
    default="us-east-1",
)
AWS_S3_ENDPOINT_URL = env.url(
    "AWS_S3_ENDPOINT_URL",
    "The address of a store other than AWS, without the bucket.",
    schemes=("https", "http"),
)
AWS_S3_ADDRESSING_STYLE = env.text(
    "AWS_S3_ADDRESSING_STYLE",
    "Whether the bucket's name is part of the host's, or of the path, which stores without names "
    "for their buckets need.",
    default="virtual",
    choices=("virtual", "path"),
)
AWS_ACCESS_KEY_ID = env.text(
    "AWS_ACCESS_KEY_ID",
    "The key that may read and write the bucket; the machine's role is used when missing.",
)
AWS_SECRET_ACCESS_KEY = env.text("AWS_SECRET_ACCESS_KEY", "The secret of this key.")
AWS_SESSION_TOKEN = env.text("AWS_SESSION_TOKEN", "The token of a key that is temporary.")
AWS_QUERYSTRING_EXPIRE = env.integer(
    "AWS_QUERYSTRING_EXPIRE",
    "Seconds that the signed address of an upload works; a week at most.",
    default=3600,
    minimum=1,
    maximum=604_800,
)

# @endif
EMAIL = env.email_url(
    "EMAIL_URL",
    "The server that takes mail, `localhost` when missing (development prints mail instead); "
    "`smtp+tls` is STARTTLS, `smtps` is TLS from the start.",
    schemes=("smtp", "smtp+tls", "smtps"),
)
DEFAULT_FROM_EMAIL = env.text(
    "DEFAULT_FROM_EMAIL",
    "The sender of mail to users.",
    default="webmaster@localhost",
)

SECURE_SSL_REDIRECT = env.flag(
    "SECURE_SSL_REDIRECT",
    "Send plain HTTP requests to HTTPS.",
    default=True,
)
SECURE_HSTS_SECONDS = env.integer(
    "SECURE_HSTS_SECONDS",
    "Seconds that browsers insist on HTTPS for this host.",
    default=31_536_000,
)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag(
    "SECURE_HSTS_INCLUDE_SUBDOMAINS",
    "Browsers insist on HTTPS for every subdomain, too; hard to take back.",
)
SECURE_HSTS_PRELOAD = env.flag(
    "SECURE_HSTS_PRELOAD",
    "Ask browsers to ship the insistence on HTTPS; very hard to take back.",
)
TRUST_X_FORWARDED_PROTO = env.flag(
    "TRUST_X_FORWARDED_PROTO",
    "Believe the header X-Forwarded-Proto, and log the last address of X-Forwarded-For; only "
    "behind a proxy that always overwrites the first.",
)
WHITENOISE_MAX_AGE = env.integer(
    "WHITENOISE_MAX_AGE",
    "Seconds that browsers keep static files without a hash in their name; others are immutable.",
    default=60,
)

READY_CHECK_TIMEOUT = env.number(
    "READY_CHECK_TIMEOUT",
    "Seconds after which /ready/ answers, whatever its checks do.",
    default=2.5,
    minimum=0.1,
    maximum=60.0,
)
METRICS_PORT = env.integer(
    "METRICS_PORT",
    "A port beside PORT that the web server serves /metrics on, for Prometheus alone to reach; "
    "0 for no metrics.",
    default=0,
    maximum=65535,
)
LOG_LEVEL = env.text(
    "LOG_LEVEL",
    "The least severe records that are logged.",
    default="INFO",
    choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
)
TIME_ZONE = env.time_zone("TIME_ZONE", "The time zone that times are shown in.", default="UTC")
LANGUAGE_CODE = env.language("LANGUAGE_CODE", "The language of the service.", default="en-us")

SENTRY_DSN = env.url(
    "SENTRY_DSN",
    "Where errors are reported; nothing is loaded or sent when missing.",
    schemes=("https", "http"),
)
SENTRY_ENVIRONMENT = env.text(
    "SENTRY_ENVIRONMENT",
    "The environment that Sentry shows beside an error.",
    default="production",
)
SENTRY_RELEASE = env.text(
    "SENTRY_RELEASE",
    "The release that Sentry shows; the project's name and version when missing.",
)
SENTRY_TRACES_SAMPLE_RATE = env.number(
    "SENTRY_TRACES_SAMPLE_RATE",
    "The share of requests whose timing is traced, from 0 to 1.",
    default=0.0,
    maximum=1.0,
)
