"""Reading records: tables, comparisons, findings and the report; it imports neither torch nor ray."""
