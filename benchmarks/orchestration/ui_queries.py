"""The queries of Dagster's pages to the webserver, reduced to the same fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

STEP: Final = "clips"  # the asset whose page is opened: three pictures, one check
CHECK: Final = "most_candidates_accepted"
EVENTS: Final = 100

_METADATA: Final = """
  metadataEntries {
    __typename label description
    ... on TextMetadataEntry { text }
    ... on MarkdownMetadataEntry { mdStr }
    ... on PathMetadataEntry { path }
    ... on JsonMetadataEntry { jsonString }
    ... on IntMetadataEntry { intValue intRepr }
    ... on FloatMetadataEntry { floatValue }
  }
"""
_CHECK_STATUSES: Final = """
  partitionStatuses {
    ... on AssetCheckDefaultPartitionStatuses {
      succeededPartitions failedPartitions inProgressPartitions skippedPartitions executionFailedPartitions
    }
  }
"""

GRAPH: Final = f"""
query Graph($keys: [AssetKeyInput!]!) {{
  assetNodes(assetKeys: $keys, loadMaterializations: true) {{
    id opNames assetKey {{ path }}
    assetMaterializations(limit: 1) {{ timestamp runId stepKey }}
    assetObservations(limit: 1) {{ timestamp runId stepKey }}
    assetChecksOrError {{
      ... on AssetChecks {{
        checks {{
          name canExecuteIndividually
          executionForLatestMaterialization {{
            id runId status timestamp stepKey evaluation {{ severity }}
          }}
          {_CHECK_STATUSES}
        }}
      }}
    }}
    partitionStats {{ numMaterialized numMaterializing numPartitions numFailed }}
  }}
  assetsLatestInfo(assetKeys: $keys) {{
    id assetKey {{ path }} unstartedRunIds inProgressRunIds
    latestRun {{ id status startTime endTime }}
  }}
}}
"""
STALE: Final = """
query Stale($keys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $keys) {
    id assetKey { path } staleStatus
    staleCauses { key { path } reason category dependency { path } }
  }
}
"""
HEALTH: Final = """
query Health($keys: [AssetKeyInput!]!) {
  assetsOrError(assetKeys: $keys) {
    ... on AssetConnection {
      nodes {
        id key { path } latestMaterializationTimestamp
        assetHealth { assetHealth materializationStatus assetChecksStatus freshnessStatus }
      }
    }
  }
}
"""
PARTITIONS: Final = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      id
      partitionKeysByDimension { name type partitionKeys }
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses { materializedPartitions materializingPartitions failedPartitions }
      }
    }
  }
}
"""
OVERVIEW: Final = f"""
query Overview($key: AssetKeyInput!) {{
  assetOrError(assetKey: $key) {{
    ... on Asset {{
      id
      assetMaterializations(limit: 1) {{ timestamp runId partition {_METADATA} }}
      assetObservations(limit: 1) {{ timestamp runId partition {_METADATA} }}
    }}
  }}
}}
"""
HISTORY: Final = f"""
query History($key: AssetKeyInput!, $limit: Int!, $partitions: [String!]) {{
  assetOrError(assetKey: $key) {{
    ... on Asset {{
      id
      assetEventHistory(
        limit: $limit
        partitions: $partitions
        eventTypeSelectors: [MATERIALIZATION, OBSERVATION, FAILED_TO_MATERIALIZE]
      ) {{
        results {{
          ... on MaterializationEvent {{
            partition tags {{ key value }} runId timestamp stepKey label description {_METADATA}
            runOrError {{ ... on Run {{ id status pipelineName }} }}
          }}
        }}
        cursor
      }}
    }}
  }}
}}
"""
RUNS: Final = """
query Runs($limit: Int!) {
  runsFeedOrError(limit: $limit, view: ROOTS) {
    ... on RunsFeedConnection {
      cursor hasMore
      results {
        __typename id runStatus creationTime startTime endTime tags { key value } jobName
        ... on Run {
          assetSelectionCount assetCheckSelectionCount
          assetSelection(limit: 25) { path }
          assetCheckSelection(limit: 25) { name assetKey { path } }
        }
      }
    }
  }
}
"""
CHECKS: Final = f"""
query Checks($key: AssetKeyInput!, $check: String!) {{
  assetNodeOrError(assetKey: $key) {{
    ... on AssetNode {{
      id
      assetChecksOrError {{
        ... on AssetChecks {{
          checks {{
            name description blocking canExecuteIndividually
            executionForLatestMaterialization {{
              id runId status timestamp evaluation {{ severity timestamp {_METADATA} }}
            }}
            {_CHECK_STATUSES}
          }}
        }}
      }}
    }}
  }}
  assetCheckExecutions(assetKey: $key, checkName: $check, limit: 25) {{
    id runId status timestamp evaluation {{ severity timestamp {_METADATA} }}
  }}
}}
"""
BACKFILL: Final = """
query Backfill($names: [String!]!, $keys: [AssetKeyInput!]!) {
  assetBackfillPreview(params: { partitionNames: $names, assetSelection: $keys }) {
    assetKey { path }
    partitions { partitionKeys ranges { start end } }
  }
}
"""


@dataclass(frozen=True)
class PageQuery:
    """One query of a page."""

    page: str
    query: str
    variables: Mapping[str, Any]


def page_queries(assets: Sequence[str], steps: Sequence[str], batches: Sequence[str]) -> list[PageQuery]:
    """The queries of the pages that people open.

    Args:
        assets: every asset.
        steps: the partitioned assets.
        batches: every partition.
    """
    everything = {"keys": [{"path": [name]} for name in assets]}
    key = {"key": {"path": [STEP]}}
    backfill = {"names": list(batches), "keys": [{"path": [name]} for name in steps]}
    return [
        PageQuery("asset graph: states", GRAPH, everything),
        PageQuery("asset graph: stale assets", STALE, everything),
        PageQuery("catalog: health", HEALTH, everything),
        PageQuery(f"{STEP}: partitions", PARTITIONS, key),
        PageQuery(f"{STEP}: latest materialization", OVERVIEW, key),
        PageQuery(f"{STEP}: last {EVENTS} events", HISTORY, {**key, "limit": EVENTS}),
        PageQuery(f"{STEP}: one partition", HISTORY, {**key, "limit": 1000, "partitions": [batches[0]]}),
        PageQuery(f"{STEP}: checks", CHECKS, {**key, "check": CHECK}),
        PageQuery("runs: last 30", RUNS, {"limit": 30}),
        PageQuery("backfill preview: all batches", BACKFILL, backfill),
    ]
