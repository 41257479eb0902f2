-- Why somebody went to a target, where that was asked: one line in their own words.
ALTER TABLE sessions ADD COLUMN reason TEXT;
